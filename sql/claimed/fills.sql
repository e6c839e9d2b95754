-- grain: one fill of an order that a trade of a shared database names; key: all columns
-- `owner` is the bot that the fill is attributed to; null for an unowned one.
with ids as (
  select d.database, d.bot, t.trade_id, unnest(t.order_ids) as id
  from config.databases d
  join bot_database.trades t on t.bot = d.bot
),

filled as (
  select e.account, e.order_id, nullif(e.order_tag, '') as order_tag, e.event_id, e.at, e.bot
  from evidence.events e
  where e.kind = 'fill' and e.account in (select account from config.databases)
)

select i.database, i.bot, i.trade_id, f.account, f.event_id, f.at, f.bot as owner
from ids i
join filled f on f.order_id = i.id
union
select i.database, i.bot, i.trade_id, f.account, f.event_id, f.at, f.bot as owner
from ids i
join filled f on f.order_tag = i.id
