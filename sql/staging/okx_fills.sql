-- grain: one fill; key: account, fill_id. Quantity is in contracts, bought +; the fee is cash, paid −.
-- view
select
  account,
  'fill' as source_kind,
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
  broker_pnl,
  sub_type between 100 and 107 or sub_type in (112, 113) or sub_type between 125 and 128
  or sub_type between 204 and 209 or sub_type between 324 and 329 as is_system
from staging.okx_parsed_fills
where reason is null
