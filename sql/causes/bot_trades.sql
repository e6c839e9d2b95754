-- grain: one closed trade that counts in a bot's claim; key: bot, trade_id
-- By the name that the account has for what its books call otherwise, see config.names.
-- `session_date` is null where it closed before the window, or between two sessions.
select
  t.* replace (coalesce(n.instrument, t.instrument) as instrument),
  b.account,
  case when t.closed_at < s.end_at then s.session_date end as session_date
from claimed.trades t
join breaks.differing b on b.bot = t.bot
left join config.names n
  on n.account = b.account and n.symbol = t.instrument
  and t.closed_at >= n.from_day and t.closed_at < n.until_day
asof left join config.sessions s on s.account = b.account and s.start_at <= t.closed_at
