-- The closed trades of jesse that it made live.
-- Grain: one row a closed trade. Key: trade_id.
-- requires: closedtrade(id, symbol, exchange, type, opened_at, closed_at, session_mode)
-- requires: order(id, trade_id, exchange_id, symbol, exchange, side, filled_qty, price, status)
-- requires: order(executed_at, session_mode, fee)
-- optional: closedtrade(soft_deleted_at)
--
-- No profit is stored: jesse works it out as quantity * (exit - entry) less the fees, each price the
-- average of the orders on that side; so does pnl, at 18 places, and a fee that jesse does not know
-- counts as none in it, as jesse shows it. fee is null then. Funding is not in the books. Backtests
-- and paper trades, which stand in the same tables, are left out; so is what its user has deleted.
with orders as (
  select
    trade_id,
    exchange_id,
    executed_at,
    lower(side) as side,
    abs(exact_product(filled_qty)) as qty,
    exact_product(price) as price,
    abs(exact_product(filled_qty, price)) as amount,
    exact_product(fee) as fee
  from bot."order"
  where abs(exact_product(filled_qty)) > 0 and upper(status) in ('EXECUTED', 'PARTIALLY FILLED')
),

trades as (
  select
    t.id::varchar as trade_id,
    any_value(instrument_of_pair(t.exchange, t.symbol)) as instrument,
    any_value(lower(t.type)) as side,
    any_value(instant(t.opened_at)) as opened_at,
    any_value(instant(t.closed_at)) as closed_at,
    nullif(whole_sum(if((o.side = 'buy') = (lower(t.type) = 'long'), o.qty, 0)), 0) as qty,
    whole_sum(if((o.side = 'buy') = (lower(t.type) = 'long'), o.amount, 0)) as entry_amount,
    nullif(whole_sum(if((o.side = 'buy') = (lower(t.type) = 'long'), 0, o.qty)), 0) as exit_qty,
    whole_sum(if((o.side = 'buy') = (lower(t.type) = 'long'), 0, o.amount)) as exit_amount,
    whole_sum(o.fee) as fee,
    coalesce(sum(o.fee), 0) as known_fee,
    list(o.exchange_id order by o.executed_at, o.exchange_id)
      filter (where o.exchange_id is not null) as order_ids
  from bot.closedtrade as t
  left join orders as o on t.id::varchar = o.trade_id::varchar
  where
    lower(t.session_mode) = 'livetrade'
    and instant(t.closed_at) is not null
    and t.soft_deleted_at is null
  group by t.id
),

priced as (
  select
    *,
    exact_quotient(entry_amount, qty) as entry_price,
    exact_quotient(exit_amount, exit_qty) as exit_price,
    exact_product(if(qty = exit_qty, exit_amount, exact_product(qty, exit_price)) - entry_amount)
      as rise,
    if(side = 'long', rise, -rise) as gross
  from trades
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
  gross,
  -fee as fee,
  null as funding,
  gross - known_fee as pnl,
  order_ids
from priced;
