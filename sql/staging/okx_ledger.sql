-- grain: one movement of cash; key: account, entry_id. Signed as cash, paid −.
select
  account,
  'bill' as source_kind,
  entry_id as source_id,
  entry_id,
  "at",
  seq,
  "at"::date as session_date,
  kind,
  currency,
  case
    when kind = 'funding' and exact(balance_change) = 0 then exact(position_change)
    when bill_type in ('5', '9')
      then exact(balance_change) - coalesce(exact(pnl), 0) - coalesce(exact(fee), 0)
    else exact(balance_change)
  end as amount,
  instrument,
  case when currency = account_currency then 1::decimal(38, 18) end as rate,
  exact(balance_change) as balance_change,
  exact(balance_after) as balance_after,
  trade_id,
  exact(pnl) as broker_pnl,
  exact(fee) as fee,
  exact(size) as size_qty,
  exact(price) as price
from staging.okx_parsed_ledger
where reason is null
