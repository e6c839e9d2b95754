-- What OctoBot believes was filled.
-- Grain: one row a trade, which is an order that was filled. Key: (instrument, fill_id).
select
  coalesce(
    origin_value ->> '$.exchange_trade_id', origin_value ->> '$.order_id', origin_value ->> '$.id'
  ) as fill_id,
  coalesce(origin_value ->> '$.exchange_id', origin_value ->> '$.order_id') as order_id,
  origin_value ->> '$.symbol' as instrument,
  lower(origin_value ->> '$.side') as side,
  exact_product(origin_value ->> '$.amount') as qty,
  exact_product(origin_value ->> '$.price') as price,
  -exact_product(origin_value ->> '$.fee.cost') as fee,
  origin_value ->> '$.fee.currency' as fee_currency,
  instant(origin_value ->> '$.timestamp') as "at"
from bot.all_trades
where
  exact_product(origin_value ->> '$.amount') > 0
  and lower(origin_value ->> '$.status') not in ('canceled', 'cancelled', 'open', 'rejected');
