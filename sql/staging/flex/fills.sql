-- grain: one execution at IBKR that moves a position; key: account, fill_id
-- Only level EXECUTION. A correction is three rows at IBKR: the original and its cancel are out, the
-- rebooking (same tradeID, new transactionID) is a fill, and carries their fees. A merger for cash is a
-- fill, too, at what it paid. `proceeds` is given where a fill's value is what was paid, and not
-- quantity times price: funds are ordered by amount, mergers pay one.
select
  f.account,
  f.kind as source_kind,
  f.id as source_id,
  f.id as fill_id,
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
  (f.fee + coalesce(c.fee, 0))::decimal(38, 18) as fee,
  f.fee_currency,
  rate,
  valuation,
  order_id,
  order_tag,
  trade_id,
  exact(broker_pnl_text) as broker_pnl,
  transaction_type = 'BookTrade' or list_has_any(notes, ['A', 'Ex', 'Ep', 'L']) as is_system,
  case when category = 'FUND' then abs(proceeds)::decimal(38, 18) end as proceeds,
  e.to_instrument,
  e.exercise_id
from staging.flex_parsed_fills f
left join staging.flex_exercises e
  on e.account = f.account and e.kind = f.kind and e.id = f.id
left join staging.flex_corrected_fees c
  on c.account = f.account and c.kind = f.kind and c.id = f.id and c.fee_currency = f.fee_currency
  and c.is_carried
where verdict = 'fill'
union all by name
select
  account,
  'CorporateAction' as source_kind,
  id as source_id,
  'action/' || id as fill_id,
  f.at,
  0::hugeint as seq,
  session_date,
  instrument,
  lower(category) as instrument_kind,
  'net' as position_side,
  qty,
  price,
  multiplier,
  false as is_inverse,
  currency,
  0::decimal(38, 18) as fee,
  currency as fee_currency,
  rate,
  valuation,
  broker_pnl,
  true as is_system,
  abs(proceeds)::decimal(38, 18) as proceeds
from staging.flex_parsed_actions f
where verdict = 'cash'
