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
  case
    when currency is null and amount is null then 'details is not a list of currencies'
    when not is_okx_name(currency) then 'ccy of a balance is not a currency'
    when amount is null then 'cashBal of ' || currency || ' is not an amount'
    else 'eq of ' || currency || ' is not an amount'
  end as reason
from staging.okx_balances
where not is_okx_name(currency) or amount is null or equity_amount is null
union all by name
select account, 'position-history' as kind, position_id as id, reason
from staging.okx_parsed_closed_positions
where reason is not null
union all by name
select account, 'instrument' as kind, instrument as id, 'instId is not an instrument' as reason
from staging.okx_instruments
where not is_okx_name(instrument)
