-- grain: one funding payment at an exchange of ccxt's; key: account, entry_id. Signed as cash, paid −.
-- The rest of a ledger is not read there: what ccxt makes of it has lost its types. So no entry
-- states a balance, and nothing here proves cash.
-- view
select
  account,
  'funding' as source_kind,
  entry_id as source_id,
  entry_id,
  "at",
  0::hugeint as seq,
  "at"::date as session_date,
  'funding' as kind,
  currency,
  amount,
  instrument,
  case when currency = account_currency then 1::decimal(38, 18) end as rate,
  null::decimal(38, 18) as balance_after,
  null::varchar as trade_id
from staging.ccxt_parsed_funding
where reason is null
