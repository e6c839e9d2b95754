-- grain: one closed trade of a bot's own books, in the session it was closed in; key: bot, trade_id
-- Clipped to the same window as the truth.
select t.bot, b.account, t.trade_id, s.session_date, t.instrument, t.pnl
from books.trades t
join config.bots b on b.bot = t.bot
join config.accounts a on a.account = b.account
join config.sessions s
  on s.account = b.account and s.start_at <= t.closed_at and t.closed_at < s.end_at
where s.session_date between a.first_date and a.last_date
