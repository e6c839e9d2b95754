-- grain: one record of OKX's that cannot be read, and why; key: account, kind, id
select account, 'fill' as kind, fill_id as id, reason
from staging.okx_parsed_fills
where reason is not null
union all by name
select account, 'bill' as kind, entry_id as id, reason
from staging.okx_parsed_ledger
where reason is not null
union all by name
select account, 'position' as kind, position_id as id, reason
from staging.okx_parsed_positions
where reason is not null
union all by name
select distinct
  account,
  'balance' as kind,
  'account' as id,
  'cashBal of ' || coalesce(nullif(currency, ''), 'a currency without a name') || ' is not an amount' as reason
from staging.okx_balances
where amount is null
