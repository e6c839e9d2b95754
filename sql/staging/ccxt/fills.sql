-- grain: one trade at an exchange of ccxt's; key: account, fill_id. Quantity is in contracts, or in
-- coins of spot, bought +; the fee is cash, paid −.
-- view
select
  account,
  'trade' as source_kind,
  fill_id as source_id,
  fill_id,
  "at",
  seq,
  "at"::date as session_date,
  instrument,
  instrument_kind,
  position_side,
  case when side = 'buy' then size else -size end as qty,
  price,
  multiplier,
  is_inverse,
  currency,
  base_currency,
  fee,
  coalesce(fee_currency, currency) as fee_currency,
  case when currency = account_currency then 1::decimal(38, 18) end as rate,
  order_id,
  order_tag,
  trade_id,
  null::decimal(38, 18) as broker_pnl,
  is_system
from staging.ccxt_parsed_fills
where reason is null
