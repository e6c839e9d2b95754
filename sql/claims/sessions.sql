-- grain: one session of a bot in which a closed trade was added, changed or removed; key: bot, session_date
select distinct r.bot, s.session_date, s.start_at
from bot_database.renewed r
join config.bots b on b.bot = r.bot
asof join config.sessions s on s.account = b.account and s.start_at <= r.closed_at
where r.closed_at < s.end_at
