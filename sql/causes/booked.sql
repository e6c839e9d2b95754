-- grain: one closed trade that counts in a bot's claim; key: bot, trade_id
-- `session_date` is null where it closed before the window, or between two sessions.
select t.*, b.account, case when t.closed_at < s.end_at then s.session_date end as session_date
from claimed.trades t
join breaks.differing b on b.bot = t.bot
asof left join config.sessions s on s.account = b.account and s.start_at <= t.closed_at
