-- grain: one fill; key: account, fill_id. Quantity is in contracts, bought +; the fee is cash, paid −.
-- `valuation` says how it comes to an amount in the account's currency: it is in it (exact); its fee was
-- taken of what was bought, and is worth what that cost (converted); by the venue's candle (estimated).
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
  rate,
  fee_rate,
  case
    when rate is null then null
    when fee <> 0 and fee_currency not in (currency, coalesce(base_currency, currency))
      and fee_rate is null then null
    when currency <> account_currency then 'estimated'
    when fee = 0 or fee_currency = currency then 'exact'
    when fee_currency = base_currency then 'converted'
    else 'estimated'
  end as valuation,
  order_id,
  order_tag,
  trade_id,
  broker_pnl,
  sub_type between 100 and 107 or sub_type in (112, 113) or sub_type between 125 and 128 as is_system
from staging.okx_parsed_fills
where reason is null
union all by name
from staging.okx_exercises
