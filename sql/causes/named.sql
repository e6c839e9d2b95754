-- grain: one order that a bot's books name as one of a trade; key: bot, trade_id, account, instrument, order_id, side
-- By the broker's id of the order, by the id that the bot gave it, or by a fill's.
with ids as (
  select t.bot, t.account, t.trade_id, unnest(t.order_ids) as id
  from causes.booked t
),

by_fill as (
  select distinct i.bot, i.account, i.trade_id, f.instrument, f.order_id, case when f.qty > 0 then 'buy' else 'sell' end as side
  from ids i
  join books.fills k on k.bot = i.bot and k.order_id = i.id
  join causes.fills f
    on f.account = i.account and f.instrument = k.instrument and f.event_id = k.fill_id
),

found as (
  select i.bot, i.account, i.trade_id, o.instrument, o.order_id, o.side, 1 as place, 'order id' as rule
  from ids i
  join causes.orders o on o.account = i.account and o.order_id = i.id
  union all
  select i.bot, i.account, i.trade_id, o.instrument, o.order_id, o.side, 2, 'client order id'
  from ids i
  join causes.orders o on o.account = i.account and o.order_tag = i.id
  union all
  select bot, account, trade_id, instrument, order_id, side, 3, 'fill id' from by_fill
)

select bot, account, trade_id, instrument, order_id, side, arg_min(rule, place) as rule
from found
group by bot, account, trade_id, instrument, order_id, side
