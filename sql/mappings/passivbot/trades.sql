-- What passivbot's fills realised, from its cache of fill events (caches/fill_events/…/*.json).
-- Grain: one row a fill. Key: trade_id.
-- requires: rows(id, timestamp, symbol, side, qty, price, pnl, fee_paid, position_side)
-- optional: rows(client_order_id, pnl_status, psize, pprice, fee_currency)
--
-- passivbot adds up pnl, which is gross, and fee_paid, which is negative where paid, of every fill
-- on the day of the fill; so does pnl here, and such a bot costs_booked = "when_paid". A fill that only
-- opens has closed nothing: qty 0. Funding is not in its books. Days are files that are named by
-- their date, and so the table `rows`. gross is null while passivbot waits for the exchange to tell
-- it (pnl_status pending): what it shows until then is not known to be. order_ids has the id that passivbot
-- gave the order.
with fills as (
  select
    id,
    symbol,
    lower(position_side) as position_side,
    (lower(position_side) = 'long') = (lower(side) = 'sell') as is_closing,
    instant(timestamp) as filled_at,
    abs(exact_product(qty)) as qty,
    exact_product(price) as price,
    exact_product(pnl) as gross,
    exact_product(fee_paid) as fee,
    coalesce(lower(pnl_status), '') = 'pending' as is_pending,
    client_order_id
  from bot.rows
)

select
  id as trade_id,
  symbol as instrument,
  position_side as side,
  if(is_closing, qty, 0) as qty,
  null as opened_at,
  filled_at as closed_at,
  null as entry_price,
  if(is_closing, price, null) as exit_price,
  if(is_pending, null, gross) as gross,
  fee,
  null as funding,
  gross + fee as pnl,
  if(coalesce(client_order_id, '') = '', null, [client_order_id]) as order_ids
from fills;
