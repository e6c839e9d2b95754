-- The closed trades of freqtrade with partial exits (since late 2022), and what open ones realised.
-- Grain: one row a trade that is closed, or that closed a part. Key: trade_id.
-- requires: trades(id, exchange, pair, is_open, fee_open, fee_close, open_rate, close_rate, amount)
-- requires: trades(open_date, close_date, close_profit_abs, is_short, funding_fees, trading_mode)
-- requires: trades(realized_profit)
-- requires: orders(id, ft_trade_id, ft_order_side, side, order_id, average, price, filled)
-- requires: orders(order_filled_date, ft_fee_base)
--
-- After a partial exit close_profit_abs is that exit alone and realized_profit the whole, and once
-- closed both are the whole (in some versions only realized_profit is): so pnl is realized_profit
-- wherever it was kept, else close_profit_abs. A trade still open that closed a part is a row too,
-- dated by its last exit: the broker has realised it, and the bot shows it as realised.
--
-- Of a trade with several exits, amount is only what the last one closed, and close_rate only its
-- price: qty and fee then come from the orders, as freqtrade adds them up (no ft_fee_base is no
-- fee taken in coin), and exit_price is null. Funding and fee of a trade still open are not known.
-- gross is pnl - fee - funding; on margin it is null, as interest is in pnl and not in the books.
with filled_orders as (
  select
    orders.ft_trade_id,
    orders.id,
    orders.order_id,
    orders.order_filled_date,
    orders.ft_order_side <> case when trades.is_short::boolean then 'sell' else 'buy' end
      as is_exit,
    exact_product(orders.filled) - coalesce(exact_product(orders.ft_fee_base), 0) as qty,
    coalesce(exact_product(orders.average), exact_product(orders.price)) as price
  from bot.orders
  inner join bot.trades on orders.ft_trade_id = trades.id
  where exact_product(orders.filled) > 0
),

trade_orders as (
  select
    ft_trade_id,
    list(order_id order by id) as order_ids,
    count(*) filter (where is_exit) as exits,
    sum(qty) filter (where is_exit) as exit_qty,
    sum(exact_product(qty, price)) filter (where is_exit) as exit_value,
    sum(exact_product(qty, price)) filter (where not is_exit) as entry_value,
    bool_and(price is not null) as is_priced,
    max(order_filled_date) filter (where is_exit) as last_exit_at
  from filled_orders
  group by ft_trade_id
),

realised as (
  select
    trades.id::varchar as trade_id,
    case
      when lower(trades.exchange) not in ('okx', 'okex', 'myokx') then trades.pair
      when contains(trades.pair, ':')
      then replace(split_part(trades.pair, ':', 1), '/', '-') || '-SWAP'
      else replace(trades.pair, '/', '-')
    end as instrument,
    case when trades.is_short::boolean then 'short' else 'long' end as side,
    trades.is_open::boolean as is_still_open,
    is_still_open or coalesce(trade_orders.exits > 1, false) as is_in_parts,
    case when is_in_parts then trade_orders.exit_qty else exact_product(trades.amount) end as qty,
    trades.open_date as opened_at,
    case when is_still_open then trade_orders.last_exit_at else trades.close_date end as closed_at,
    trades.open_rate as entry_price,
    case when not is_in_parts then trades.close_rate end as exit_price,
    coalesce(upper(trades.trading_mode::varchar), 'SPOT') as trading_mode,
    case
      when is_still_open then null
      when is_in_parts and not trade_orders.is_priced then null
      when is_in_parts
        then -(
          exact_product(trade_orders.entry_value, trades.fee_open)
          + exact_product(trade_orders.exit_value, trades.fee_close)
        )
      else -(
        exact_product(trades.amount, trades.open_rate, trades.fee_open)
        + exact_product(trades.amount, trades.close_rate, trades.fee_close)
      )
    end as fee,
    case when not is_still_open then exact_product(trades.funding_fees) end as funding,
    coalesce(
      nullif(exact_product(trades.realized_profit), 0), exact_product(trades.close_profit_abs)
    ) as pnl,
    trade_orders.order_ids
  from bot.trades
  left join trade_orders on trades.id = trade_orders.ft_trade_id
  where not trades.is_open::boolean or exact_product(trades.realized_profit) <> 0
)

select
  trade_id,
  instrument,
  side,
  qty,
  opened_at,
  closed_at,
  entry_price,
  exit_price,
  case trading_mode
    when 'SPOT' then pnl - fee
    when 'FUTURES' then pnl - fee - funding
  end as gross,
  fee,
  case when trading_mode = 'FUTURES' then funding end as funding,
  pnl,
  order_ids
from realised;
