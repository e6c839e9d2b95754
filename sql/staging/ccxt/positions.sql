-- grain: one open position of the latest snapshot; key: account, instrument, position_side
-- The same instrument held cross and isolated is one position.
select
  account,
  instrument,
  position_side,
  sum(qty)::decimal(38, 18) as qty,
  case when count(*) = 1 then any_value(avg_price) end as avg_price,
  any_value(mark_price) as mark_price,
  any_value(currency) as currency,
  any_value(taken_at) as taken_at,
  any_value(taken_at)::date as session_date
from staging.ccxt_parsed_positions
where reason is null
group by account, instrument, position_side
having sum(qty) <> 0
