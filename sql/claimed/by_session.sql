-- grain: what a bot says it earned in one session, and by how many closed trades; key: bot, session_date
-- What bots with a database of their own claim is kept from night to night. A share of a database that
-- several bots name is added up anew: whose a trade is may change with attribution and ownership.
-- view
select bot, session_date, claimed, trades from claims.by_session
union all
select t.bot, s.session_date, whole_sum(t.pnl) as claimed, count(*) as trades
from claimed.trades t
semi join config.databases d on d.bot = t.bot
join config.bots b on b.bot = t.bot
asof join config.sessions s on s.account = b.account and s.start_at <= t.closed_at
where t.closed_at < s.end_at
group by t.bot, s.session_date
