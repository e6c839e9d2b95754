-- What freqtrade believes was filled.
-- Grain: one row an order of which a part was filled. Key: (instrument, fill_id).
--
-- freqtrade keeps orders, not fills: the order's id stands for both. Its price is the average of
-- its fills, or the order's own where no average was kept. ft_fee_base is null for an order whose
-- fee was not taken in coin, so the fee of a single order is not known: null, and its currency too.
-- watermark: trades(close_date) text
-- watermark: orders(order_update_date) text
-- unit: trades(id) orders(ft_trade_id)
--
-- What freqtrade changes of a trade, it changes as it handles one of its orders, which it then
-- dates anew (order_update_date): also of a trade that was closed long ago, whose fee it looks up
-- until it finds one, or that is reloaded from the exchange. So close_date alone would not do. Open
-- trades, whose close_date is null, and what closed lately are read in any case. What freqtrade
-- rewrites when it is upgraded and dates nowhere (a new name of a pair) comes with whole reads.
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
  coalesce(exact_product(orders.average), exact_product(orders.price)) as price,
  null as fee,
  null as fee_currency,
  orders.order_filled_date as at
from bot.orders
inner join bot.trades on orders.ft_trade_id = trades.id
where exact_product(orders.filled) > 0;
