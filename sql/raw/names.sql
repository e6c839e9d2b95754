-- grain: one symbol of an IBKR instrument whose symbol alone does not name it; key: account, conid, symbol
-- An instrument is its conid. It is called by the symbol that it took last; where a later instrument
-- took that symbol, too, its conid is added. All others have one symbol that is theirs alone, and are
-- called by it: they have no row. A TWS account knows the symbols of the statements that confirm it.
-- `from_day` and `until_day` (exclusive) say when the symbol alone, without a conid, means it.
with witnesses as (
  select account, account as witness from config.accounts where venue in ('ibkr-flex', 'ibkr-tws')
  union
  select account, confirmed_by from config.tws where confirmed_by is not null
),

named as (
  select w.account, n.conid, n.symbol, min(n.day) as first_day
  from raw.names n
  join witnesses w on w.witness = n.account
  where n.venue in ('ibkr-flex', 'ibkr-tws')
  group by all
),

counted as (
  select *, count(*) over (partition by account, conid) as symbols,
    count(*) over (partition by account, symbol) as bearers
  from named
),

tangled as (
  select
    *,
    first_value(symbol) over (
      partition by account, conid order by first_day desc, symbol desc
    ) as last_symbol,
    row_number() over bearers_in_order as place,
    case when place = 1 then date '0001-01-01' else first_day end as from_day,
    coalesce(lead(first_day) over bearers_in_order, date '9999-12-31') as until_day
  from counted
  window bearers_in_order as (partition by account, symbol order by first_day, conid)
  qualify bool_or(symbols > 1 or bearers > 1) over (partition by account, conid)
)

select
  account, conid, symbol, from_day, until_day,
  place = max(place) over (partition by account, symbol) as is_latest,
  last_symbol || case
    when bool_or(symbol = last_symbol and until_day < date '9999-12-31') over (partition by account, conid)
      then ' (conid ' || conid || ')'
    else ''
  end as instrument
from tangled
