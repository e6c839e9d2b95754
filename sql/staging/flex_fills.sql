-- grain: one execution at IBKR that moves a position; key: account, fill_id
-- Only level EXECUTION. A correction is three rows at IBKR: the original and its cancel are out,
-- the rebooking (same tradeID, new transactionID) is a fill like any other.
select
  account,
  kind as source_kind,
  id as source_id,
  id as fill_id,
  f.at,
  seq,
  session_date,
  instrument,
  lower(category) as instrument_kind,
  'net' as position_side,
  qty,
  price,
  multiplier,
  false as is_inverse,
  currency,
  fee,
  fee_currency,
  rate,
  order_id,
  order_tag,
  trade_id,
  exact(broker_pnl_text) as broker_pnl,
  transaction_type = 'BookTrade' or list_has_any(notes, ['A', 'Ex', 'Ep', 'L']) as is_system
from staging.flex_parsed_fills f
where verdict = 'fill'
