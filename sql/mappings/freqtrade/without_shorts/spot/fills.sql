-- What freqtrade believes was filled, before its orders kept an average price.
-- Grain: one row an order of which a part was filled. Key: (instrument, fill_id).
--
-- freqtrade keeps orders, not fills: the order's id stands for both, and its price is the order's.
-- The fee of a single order is not in the books: null, and so is its currency.
-- watermark: trades(close_date) text
-- watermark: orders(order_update_date) text
-- unit: trades(id) orders(ft_trade_id)
--
-- A closed trade may still change, and then one of its orders is dated anew: see
-- with_shorts/fills.sql.
select
  orders.order_id as fill_id,
  orders.order_id,
  case
    when lower(trades.exchange) not in ('okx', 'okex', 'myokx') then trades.pair
    when contains(trades.pair, ':')
      then replace(split_part(trades.pair, ':', 1), '/', '-') || '-SWAP'
    else replace(trades.pair, '/', '-')
  end as instrument,
  case
    when orders.ft_order_side in ('buy', 'sell') then orders.ft_order_side
    else lower(orders.side)
  end as side,
  exact_product(orders.filled) as qty,
  exact_product(orders.price) as price,
  null as fee,
  null as fee_currency,
  orders.order_filled_date as at
from bot.orders
inner join bot.trades on orders.ft_trade_id = trades.id
where exact_product(orders.filled) > 0;
