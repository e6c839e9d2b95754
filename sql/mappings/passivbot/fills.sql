-- What passivbot learned was filled.
-- Grain: one row a fill. Key: (instrument, fill_id).
--
-- qty is in the exchange's contracts. The order's own id is not kept, only the one that passivbot
-- gave it. fee_currency is the fee's own where passivbot notes it; the fee is in the quote.
select
  id as fill_id,
  null as order_id,
  symbol as instrument,
  lower(side) as side,
  abs(exact_product(qty)) as qty,
  exact_product(price) as price,
  exact_product(fee_paid) as fee,
  if(contains(symbol, ':'), split_part(symbol, ':', 2), split_part(symbol, '/', 2))
    as fee_currency,
  instant(timestamp) as "at"
from bot.rows;
