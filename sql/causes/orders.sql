-- grain: one order of the broker's that was filled; key: account, instrument, order_id
-- `qty` is unsigned, in contracts.
select
  account, instrument, order_id,
  case when sum(qty) > 0 then 'buy' else 'sell' end as side,
  any_value(bot) as bot,
  abs(sum(qty)) as qty,
  any_value(multiplier) as multiplier,
  max("at") as last_at,
  min(price) as low_price,
  max(price) as high_price,
  min(order_tag) as order_tag
from causes.fills
group by account, instrument, order_id
