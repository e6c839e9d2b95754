-- grain: one kind of difference that a record accounts for, whose own reason is told already; key: all columns
-- A difference of `proof` is not told as a reason of its own where its instrument and its currency are
-- these; null stands for any. It stays a difference, and its proof stays broken.
with unread as (
  select
    q.account,
    unnest(
      case q.kind
        when 'fill' then ['positions', 'cash', 'broker_pnl']
        when 'bill' then if(q.instrument is null, ['broker_pnl'], ['cash', 'broker_pnl'])
        when 'position' then ['positions']
        else []::varchar[]
      end
    ) as proof,
    q.instrument,
    null::varchar as currency
  from evidence.quarantine q
  semi join config.accounts a on a.account = q.account and a.venue = 'okx'
),

-- An entry that cannot be read, or that names no trade, is missing from its currency's chain or trades.
unread_of_currency as (
  select
    q.account,
    unnest(case when q.kind in ('bill', 'balance') then ['cash', 'equity'] else ['equity'] end) as proof,
    q.currency
  from evidence.quarantine q
  semi join config.accounts a on a.account = q.account and a.venue = 'okx'
  where q.kind in ('fill', 'bill', 'position', 'balance')
),

-- Of what a finding is about, not every fill or entry is known.
found as (
  select f.account, l.instrument, l.currency
  from evidence.findings f
  join config.accounts a on a.account = f.account and a.venue = 'okx'
  join evidence.ledger l on l.account = f.account and l.entry_id = f.source_id
  where f.source_kind = 'bill' and l.kind in ('trade', 'penalty', 'exercise')
)

select account, proof, instrument, currency
from unread
union
select account, proof, null as instrument, currency
from unread_of_currency
union
select account, unnest(['positions', 'cash', 'broker_pnl']) as proof, instrument, null as currency
from found
where instrument is not null
union
select account, 'cash' as proof, null as instrument, currency
from found
where instrument is null
union
select account, 'equity' as proof, null as instrument, currency
from found
union
select f.account, 'equity' as proof, null as instrument, null as currency
from evidence.findings f
join evidence.instruments i on i.account = f.account and i.instrument = f.instrument
where i.instrument_kind = 'margin'
