-- grain: what a bot says it earned in one session, and by how many closed trades; key: bot, session_date
-- Of bots that have a database of their own; claimed/by_session.sql has the others, too.
-- let: claims_from = select coalesce(min(start_at), timestamp '9999-12-31') from claims.sessions
-- replaces: (k.bot, k.session_date) in (select bot, session_date from claims.sessions)
select t.bot, s.session_date, whole_sum(t.pnl) as claimed, count(*) as trades
from bot_database.trades t
join config.bots b on b.bot = t.bot
asof join config.sessions s on s.account = b.account and s.start_at <= t.closed_at
anti join config.databases d on d.bot = t.bot
semi join claims.sessions c on c.bot = t.bot and c.session_date = s.session_date
where t.closed_at >= getvariable('claims_from') and t.closed_at < s.end_at
group by t.bot, s.session_date
