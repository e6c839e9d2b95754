-- grain: an instrument that a bot's database traded in the window; key: bot, instrument
select distinct b.bot, t.instrument
from (
  select bot, instrument, closed_at as traded_at from books.trades
  union all
  select bot, instrument, "at" as traded_at from books.fills
) t
join config.bots b on b.bot = t.bot
join config.accounts a on a.account = b.account
where t.instrument <> '' and t.traded_at >= a.window_start and t.traded_at < a.window_end
