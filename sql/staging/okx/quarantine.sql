-- grain: one record of OKX's that cannot be read, and why; key: account, kind, id
-- `instrument` and `currency` are what the record concerns; null where it does not say.
with unreadable as (
  select account, 'fill' as kind, fill_id as id, instrument, null as currency, reason
  from staging.okx_parsed_fills
  union all by name
  select account, 'bill' as kind, entry_id as id, instrument, currency, reason
  from staging.okx_parsed_ledger
  union all by name
  select account, 'position' as kind, position_id as id, instrument, null as currency, reason
  from staging.okx_parsed_positions
  union all by name
  select account, 'position-history' as kind, position_id as id, instrument, null as currency, reason
  from staging.okx_parsed_closed_positions
  union all by name
  select
    account,
    'instrument' as kind,
    instrument as id,
    instrument,
    null as currency,
    case when not is_okx_name(instrument) then 'instId is not an instrument' end as reason
  from staging.okx_instruments
  union all by name
  select distinct
    account,
    'balance' as kind,
    'account' as id,
    null as instrument,
    currency,
    case
      when currency is null and amount is null then 'details is not a list of currencies'
      when not is_okx_name(currency) then 'ccy of a balance is not a currency'
      when amount is null then 'cashBal of ' || currency || ' is not an amount'
      when equity_amount is null then 'eq of ' || currency || ' is not an amount'
    end as reason
  from staging.okx_balances
)

select
  account,
  kind,
  id,
  case when is_okx_name(instrument) then instrument end as instrument,
  case when is_okx_name(currency) then currency end as currency,
  reason
from unreadable
where reason is not null
