-- grain: one order of the broker's that was filled; key: account, instrument, order_id, side
-- `qty` is unsigned, in contracts; `coins` the same times the multiplier.
select
  account, instrument, order_id,
  case when qty > 0 then 'buy' else 'sell' end as side,
  any_value(bot) as bot,
  abs(sum(qty)) as qty,
  any_value(multiplier) as multiplier,
  min("at") as first_at,
  max("at") as last_at,
  min(price) as low_price,
  max(price) as high_price,
  min(order_tag) as order_tag
from causes.fills
group by account, instrument, order_id, side
