-- grain: one execution at IBKR, as TWS tells it today: provisional; key: account, fill_id
-- Of an execution and its corrections the latest. Instruments are named as Flex names them.
select
  account,
  'execution' as source_kind,
  exec_id as source_id,
  exec_id as fill_id,
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
  case when currency = account_currency then 1::decimal(38, 18) end as rate,
  order_id,
  order_tag,
  null::varchar as trade_id,
  null::decimal(38, 18) as broker_pnl,
  is_system
from staging.tws_parsed_executions f
where verdict = 'fill'
