-- grain: one open position of the latest statement; key: account, instrument
-- Summaries where the statement has any, else the sum of the lots; lots of different prices have no
-- one average here, which is unknown and not guessed.
select
  account,
  instrument,
  'net' as position_side,
  sum(qty)::decimal(38, 18) as qty,
  case when min(avg_price) = max(avg_price) and count(avg_price) = count(*) then min(avg_price) end
    as avg_price,
  min(mark_price) as mark_price,
  min(currency) as currency,
  min(taken_at) as taken_at,
  min(to_date) as session_date
from staging.flex_parsed_positions
where reason is null and not is_restated
group by account, instrument
having sum(qty) <> 0
