-- grain: one fill that a bot's books had as one of a trade that they have no more; key: all columns
select distinct e.bot, f.event_id
from (
  select g.bot, unnest(g.order_ids) as id
  from bot_trades.previous g
  semi join breaks.differing d on d.bot = g.bot
  anti join bot_database.trades t on t.bot = g.bot and t.trade_id = g.trade_id
) e
join breaks.differing b on b.bot = e.bot
join causes.fills f on f.account = b.account and e.id in (f.order_id, f.order_tag)
