-- grain: one bot of a shared database with trades in its window that are no bot's; key: bot
-- The claim of such a bot is not known: any of those trades may be its. One on an instrument that several of
-- the bots trade may be theirs, and one that none of them trades any bot's.
select
  b.account,
  t.bot,
  count(*) as trades,
  arg_min(t.trade_id, (t.closed_at, t.trade_id)) as trade_id,
  arg_min(t.instrument, (t.closed_at, t.trade_id)) as instrument,
  any_value(n.bots) as bots
from claimed.shared t
join config.bots b on b.bot = t.bot
join config.accounts a on a.account = b.account
join (
  select database, string_agg(bot, ', ' order by bot) as bots from config.databases group by database
) n on n.database = t.database
where
  t.owner is null and coalesce(list_contains(t.candidates, t.bot), true)
  and t.closed_at >= a.window_start and t.closed_at < a.window_end
group by b.account, t.bot
