-- grain: an instrument that a bot's database traded in the window; key: bot, instrument
-- Of a database that several bots name, those of the trades that count in its claim.
select distinct b.bot, t.instrument
from (
  select bot, instrument, closed_at as traded_at from claimed.trades
  union all
  select f.bot, f.instrument, f.at as traded_at
  from bot_database.fills f
  anti join config.databases d on d.bot = f.bot
) t
join config.bots b on b.bot = t.bot
join config.accounts a on a.account = b.account
where t.instrument <> '' and t.traded_at >= a.window_start and t.traded_at < a.window_end
