-- grain: one bill as OKX gave it, with a reason where it cannot be read; key: account, entry_id
-- `kind` by OKX's own type. What a liquidation or an ADL takes beyond its fills' PnL and fee is a
-- penalty. An isolated position's funding moves the position's balance and not the account's.
with texts as (
  select
    r.account,
    r.id as entry_id,
    utc_ms(r.payload ->> 'ts') as "at",
    try_cast(r.id as hugeint) as seq,
    r.payload ->> 'type' as bill_type,
    nullif(r.payload ->> 'ccy', '') as currency,
    nullif(r.payload ->> 'instId', '') as instrument,
    nullif(r.payload ->> 'instType', '') as instrument_type,
    nullif(r.payload ->> 'tradeId', '') as trade_id,
    r.payload ->> 'balChg' as balance_change,
    r.payload ->> 'bal' as balance_after,
    r.payload ->> 'posBalChg' as position_change,
    r.payload ->> 'pnl' as pnl,
    r.payload ->> 'fee' as fee,
    r.payload ->> 'sz' as size,
    r.payload ->> 'px' as price,
    r.fetched_at,
    a.currency as account_currency
  from raw.tonight r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  where r.venue = 'okx' and r.kind = 'bill'
)

select
  * exclude (fetched_at),
  case bill_type
    when '1' then 'transfer'
    when '2' then 'trade'
    when '3' then 'settlement'
    when '4' then 'conversion'
    when '5' then 'penalty'
    when '6' then 'transfer'
    when '7' then 'interest'
    when '8' then 'funding'
    when '9' then 'penalty'
    when '10' then 'penalty'
    when '11' then 'conversion'
    when '12' then 'transfer'
    when '13' then 'conversion'
    else 'unknown'
  end as kind,
  nullif(
    concat_ws(
      '; ',
      case when not is_okx_time("at", fetched_at) then 'ts is not a time at which OKX traded' end,
      case when seq is null then 'billId is not a number' end,
      case when currency is null then 'ccy is missing' end,
      case when exact(balance_change) is null then 'balChg is not an amount' end,
      case when exact(balance_after) is null then 'bal is not an amount' end,
      case when is_unreadable(position_change) then 'posBalChg is unreadable' end,
      case when is_unreadable(pnl) then 'pnl is unreadable' end,
      case when is_unreadable(fee) then 'fee is unreadable' end,
      case
        when kind = 'funding' and exact(balance_change) = 0 and exact(position_change) is null
          then 'funding without an amount'
      end,
      case when kind = 'funding' and instrument is null then 'funding without an instrument' end
    ),
    ''
  ) as reason
from texts
