-- The closed trades of freqtrade with shorts and futures, before partial exits (early to mid 2022).
-- Grain: one row a closed trade. Key: trade_id.
-- requires: trades(id, exchange, pair, is_open, fee_open, fee_close, open_rate, close_rate, amount)
-- requires: trades(open_date, close_date, close_profit_abs, is_short, funding_fees, trading_mode)
-- requires: orders(id, ft_trade_id, ft_order_side, side, order_id, average, price, filled)
-- requires: orders(order_filled_date)
--
-- pnl is close_profit_abs, which freqtrade shows. The fee comes from the ratios (see spot/). gross
-- is pnl - fee - funding; it is null on margin, where interest is in pnl and not in the books, and
-- where a future's funding is not known. Spot has no funding: none is missed there.
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
    case when is_short::boolean then 'short' else 'long' end as side,
    exact_product(amount) as qty,
    open_date as opened_at,
    close_date as closed_at,
    open_rate as entry_price,
    close_rate as exit_price,
    coalesce(upper(trading_mode::varchar), 'SPOT') as trading_mode,
    -(exact_product(amount, open_rate, fee_open) + exact_product(amount, close_rate, fee_close))
      as fee,
    exact_product(funding_fees) as funding,
    exact_product(close_profit_abs) as pnl
  from bot.trades
  where not is_open::boolean
)

select
  closed.id::varchar as trade_id,
  closed.instrument,
  closed.side,
  closed.qty,
  closed.opened_at,
  closed.closed_at,
  closed.entry_price,
  closed.exit_price,
  case closed.trading_mode
    when 'SPOT' then closed.pnl - closed.fee
    when 'FUTURES' then closed.pnl - closed.fee - closed.funding
  end as gross,
  closed.fee,
  case when closed.trading_mode = 'FUTURES' then closed.funding end as funding,
  closed.pnl,
  filled_orders.order_ids
from closed
left join filled_orders on closed.id = filled_orders.ft_trade_id;
