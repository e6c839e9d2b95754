-- grain: one closed trade of a bot's books as they were last read; key: bot, trade_id
-- Those of books that cannot be read tonight stay; bot_trades.previous is made of what they were before.
-- replaces: k.bot in (select bot from bot_database.readable) and (exists (from bot_database.renewed n where n.bot = k.bot and n.closed_at = k.closed_at) or exists (from bot_database.readable r where r.bot = k.bot and r.recipe <> k.recipe))
select t.*, r.recipe
from bot_database.trades t
join bot_database.readable r on r.bot = t.bot
semi join bot_database.renewed n on n.bot = t.bot and n.closed_at = t.closed_at
