-- grain: one order that is taken for one side of a trade, as nothing names it; key: bot, trade_id, is_exit, order_id
-- Of one instrument and side, within a quarter of an hour and two per cent of the price: the nearest
-- of the same quantity, where each is the other's nearest; then, of what is left, the nearest of any.
-- Orders that are left go to the nearest side that lacks quantity, as far as it does.
with free as (
  select o.*, epoch(o.last_at)::bigint // 900 as bucket
  from causes.orders o
  anti join causes.id_matches n
    on n.account = o.account and n.instrument = o.instrument and n.order_id = o.order_id
),

near as (
  select
    l.bot, l.trade_id, l.is_exit, l.qty as leg_qty, f.account, f.instrument, f.order_id, f.qty, f.multiplier,
    f.last_at,
    l.qty in (f.qty, at_rate(f.qty, f.multiplier)) as is_same_qty,
    abs(epoch_ms(l."at") - epoch_ms(f.last_at)) as apart_ms
  from (select *, unnest([bucket - 1, bucket, bucket + 1]) as near_bucket from causes.trade_sides) l
  join free f
    on f.account = l.account and f.instrument = l.instrument and f.side = l.side
    and f.bucket = l.near_bucket
  where
    abs(epoch_ms(l."at") - epoch_ms(f.last_at)) <= 900000
    and coalesce(l.price between f.low_price * 0.98 and f.high_price * 1.02, true)
    and coalesce(f.bot = l.bot, true)
),

same as (
  select *
  from near
  where is_same_qty
  qualify
    row_number() over (partition by bot, trade_id, is_exit order by apart_ms, order_id) = 1
    and row_number() over (partition by account, instrument, order_id order by apart_ms, trade_id) = 1
),

rest as (
  select n.*
  from near n
  anti join same s
    on s.account = n.account and s.instrument = n.instrument and s.order_id = n.order_id
  anti join same t on t.bot = n.bot and t.trade_id = n.trade_id and t.is_exit = n.is_exit
  qualify
    row_number() over (partition by n.account, n.instrument, n.order_id order by n.apart_ms, n.trade_id) = 1
)

select bot, trade_id, is_exit, account, instrument, order_id, 'instrument, side, time and quantity' as rule
from same
union all
select bot, trade_id, is_exit, account, instrument, order_id, 'instrument, side and time' as rule
from rest
qualify
  coalesce(
    sum(qty) over (partition by bot, trade_id, is_exit order by apart_ms, order_id) <= leg_qty,
    true
  )
  or row_number() over (partition by bot, trade_id, is_exit order by apart_ms, order_id) = 1
