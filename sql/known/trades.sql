-- grain: one closed trade of a bot's books as they were last read; key: bot, trade_id
-- Those of books that cannot be read tonight stay; earlier.trades is made of what they were before.
-- replaces: k.bot in (select bot from books.readable) and (exists (from books.renewed n where n.bot = k.bot and n.closed_at = k.closed_at) or exists (from books.readable r where r.bot = k.bot and r.recipe <> k.recipe))
select t.*, r.recipe
from books.trades t
join books.readable r on r.bot = t.bot
semi join books.renewed n on n.bot = t.bot and n.closed_at = t.closed_at
