-- The closed trades of freqtrade with orders, before it could go short (2020 to early 2022).
-- Grain: one row a closed trade. Key: trade_id.
-- requires: trades(id, exchange, pair, is_open, fee_open, fee_close, open_rate, close_rate, amount)
-- requires: trades(open_date, close_date, close_profit_abs)
-- requires: orders(id, ft_trade_id, ft_order_side, side, order_id, price, filled)
-- requires: orders(order_filled_date)
--
-- pnl is close_profit_abs, which freqtrade shows, and which it rounds to 8 places. The fee comes
-- from the ratios that it was worked out from: fee_open_cost and fee_close_cost may be in another
-- currency than the columns beside them say. gross is what is left, so gross + fee = pnl.
with filled_orders as (
  select
    ft_trade_id,
    list(order_id order by id) as order_ids
  from bot.orders
  where exact_product(filled) > 0
  group by ft_trade_id
),

closed as (
  select
    id,
    case
      when lower(exchange) not in ('okx', 'okex', 'myokx') then pair
      when contains(pair, ':') then replace(split_part(pair, ':', 1), '/', '-') || '-SWAP'
      else replace(pair, '/', '-')
    end as instrument,
    exact_product(amount) as qty,
    open_date as opened_at,
    close_date as closed_at,
    open_rate as entry_price,
    close_rate as exit_price,
    -(exact_product(amount, open_rate, fee_open) + exact_product(amount, close_rate, fee_close))
      as fee,
    exact_product(close_profit_abs) as pnl
  from bot.trades
  where not is_open::boolean
)

select
  closed.id::varchar as trade_id,
  closed.instrument,
  'long' as side,
  closed.qty,
  closed.opened_at,
  closed.closed_at,
  closed.entry_price,
  closed.exit_price,
  closed.pnl - closed.fee as gross,
  closed.fee,
  null as funding,
  closed.pnl,
  filled_orders.order_ids
from closed
left join filled_orders on closed.id = filled_orders.ft_trade_id;
