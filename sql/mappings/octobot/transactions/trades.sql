-- What OctoBot closed of futures, where it keeps its transactions.
-- Grain: one row a transaction that realised a profit or a loss. Key: trade_id.
-- requires: all_transactions(id, x, symbol, type, closed_quantity)
-- optional: all_transactions(realised_pnl, realized_pnl, side, order_id, first_entry_time)
-- optional: all_transactions(average_entry_price, average_exit_price)
--
-- pnl is the profit of the transaction, as OctoBot shows it: gross of fees and funding, which are
-- transactions of their own and belong to none of its trades: null. Its average prices do not weigh
-- quantities.
with realised as (
  select
    *,
    coalesce(exact_product(realised_pnl), exact_product(realized_pnl)) as pnl,
    exact_product(average_entry_price) as entry_price,
    exact_product(average_exit_price) as exit_price
  from bot.all_transactions
  where coalesce(realised_pnl, realized_pnl) is not null
)

select
  id as trade_id,
  symbol as instrument,
  case
    when lower(side) in ('long', 'short') then lower(side)
    when (pnl >= 0) = (exit_price >= entry_price) then 'long'
    when pnl is not null and entry_price is not null and exit_price is not null then 'short'
  end as side,
  abs(exact_product(closed_quantity)) as qty,
  instant(first_entry_time) as opened_at,
  instant(x) as closed_at,
  entry_price,
  exit_price,
  pnl as gross,
  null as fee,
  null as funding,
  pnl,
  if(order_id is null, null, [order_id]) as order_ids
from realised;
