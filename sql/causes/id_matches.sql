-- grain: one order that a bot's books name as one of a trade; key: bot, trade_id, account, instrument, order_id
-- By the broker's id of the order; where that is not found by the id that the bot gave it, or a fill's. In books
-- that have a row for each fill, the id of a row may be its fill's.
with ids as (
  select bot, account, trade_id, unnest(order_ids) as id from causes.bot_trades
),

by_order as (
  select i.bot, i.account, i.trade_id, o.instrument, o.order_id, 'order id' as rule
  from ids i
  join causes.orders o on o.account = i.account and o.order_id = i.id
),

others as (
  select i.* from ids i anti join by_order o on o.bot = i.bot and o.trade_id = i.trade_id and o.order_id = i.id
),

by_tag as (
  select i.bot, i.account, i.trade_id, o.instrument, o.order_id, 'client order id' as rule, i.id
  from others i
  join causes.orders o on o.account = i.account and o.order_tag = i.id
),

filled as (
  select account, instrument, order_id, event_id as fill_id from causes.fills
  union
  select account, instrument, order_id, trade_id from causes.fills where trade_id is not null
),

by_fill as (
  select i.bot, i.account, i.trade_id, f.instrument, f.order_id, 'fill id' as rule
  from others i
  join bot_database.fills k on k.bot = i.bot and k.order_id = i.id
  left join config.names n
    on n.account = i.account and n.symbol = k.instrument and k.at >= n.from_day and k.at < n.until_day
  join filled f
    on f.account = i.account and f.instrument = coalesce(n.instrument, k.instrument)
    and f.fill_id = k.fill_id
  anti join by_tag t on t.bot = i.bot and t.trade_id = i.trade_id and t.id = i.id
),

by_row as (
  select b.bot, b.account, b.trade_id, f.instrument, f.order_id, 'fill id' as rule
  from causes.bot_trades b
  semi join causes.by_fill y on y.bot = b.bot
  join bot_database.fills k on k.bot = b.bot and k.fill_id = b.trade_id
  left join config.names n
    on n.account = b.account and n.symbol = k.instrument and k.at >= n.from_day and k.at < n.until_day
  join filled f
    on f.account = b.account and f.instrument = b.instrument
    and f.instrument = coalesce(n.instrument, k.instrument) and f.fill_id = k.fill_id
  anti join by_order o on o.bot = b.bot and o.trade_id = b.trade_id
  anti join by_tag t on t.bot = b.bot and t.trade_id = b.trade_id
)

from by_order
union all by name
from (
  select bot, account, trade_id, instrument, order_id, rule from by_tag
  union
  from by_fill
  union
  from by_row
)
