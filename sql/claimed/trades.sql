-- grain: one closed trade that counts in a bot's claim; key: bot, trade_id
-- All of its books, or of a database that several bots name, its own share.
-- view
select t.*
from bot_database.trades t
left join claimed.shared s on s.bot = t.bot and s.trade_id = t.trade_id
where s.bot is null or s.owner = t.bot
