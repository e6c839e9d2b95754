-- grain: one movement of cash; key: account, entry_id. Signed as cash, paid −.
-- What is no PnL of its own is not valued.
-- view
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
    when kind = 'funding' and balance_change = 0 then position_change
    when kind = 'penalty' and bill_type in ('5', '9')
      then coalesce(nullif(balance_change, 0), position_change, 0) - coalesce(pnl, 0) - coalesce(fee, 0)
    else balance_change
  end as amount,
  instrument,
  case when currency = account_currency or kind in ('funding', 'interest', 'penalty') then l.rate end
    as rate,
  case
    when currency = account_currency then 'exact'
    when kind in ('funding', 'interest', 'penalty') and l.rate is not null then 'estimated'
  end as valuation,
  balance_change,
  balance_after,
  trade_id,
  pnl as broker_pnl,
  fee,
  size as size_qty,
  price
from staging.okx_parsed_ledger l
where reason is null
