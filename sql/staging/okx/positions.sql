-- grain: one open position of the latest snapshot; key: account, instrument, position_side
-- A short side's quantity is positive at OKX and negative here. The same instrument held cross and
-- isolated is one position. One on MARGIN is a finding (okx_findings).
select
  account,
  instrument,
  position_side,
  sum(case when position_side = 'short' then -exact(qty) else exact(qty) end)::decimal(38, 18) as qty,
  any_value(exact(avg_price)) as avg_price,
  any_value(unsettled_price) as unsettled_price,
  any_value(exact(mark_price)) as mark_price,
  whole_sum(unrealised_amount) as unrealised_amount,
  any_value(currency) as currency,
  any_value(taken_at) as taken_at,
  any_value(taken_at)::date as session_date
from staging.okx_parsed_positions
where reason is null and instrument_type is distinct from 'MARGIN'
group by account, instrument, position_side
having sum(exact(qty)) <> 0
