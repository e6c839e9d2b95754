-- What jesse believes was filled, live.
-- Grain: one row an order of which a part was filled. Key: (instrument, fill_id).
--
-- jesse keeps orders, not fills: fill_id is its own id of the order. Where the exchange told no
-- price, the order's own stands for it.
select
  id::varchar as fill_id,
  exchange_id as order_id,
  instrument_of_pair(exchange, symbol) as instrument,
  lower(side) as side,
  abs(exact_product(filled_qty)) as qty,
  exact_product(price) as price,
  -exact_product(fee) as fee,
  null as fee_currency,
  instant(executed_at) as "at"
from bot."order"
where
  abs(exact_product(filled_qty)) > 0
  and upper(status) in ('EXECUTED', 'PARTIALLY FILLED')
  and lower(session_mode) = 'livetrade';
