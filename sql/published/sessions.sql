-- grain: what one owner earned in one session of its window, and what it claims of it; key: account,
-- scope, bot, session_date
-- scope 'bot': bot is null for what nobody owns, and a claim is null where there was none. scope
-- 'account': the broker's own, netted figure. All of it in the account's currency, costs negative.
with claimed as (
  select b.account, 'bot' as scope, c.bot, c.session_date, c.claimed, c.trades
  from claimed.by_session c
  join config.bots b on b.bot = c.bot
)

select
  account,
  scope,
  s.bot,
  session_date,
  a.currency,
  s.gross,
  s.fees,
  s.funding,
  s.other,
  s.net,
  s.open_costs,
  s.fills,
  s.claimed,
  s.trades
from (
  select
    account,
    scope,
    coalesce(p.bot, c.bot) as bot,
    session_date,
    p.gross,
    p.fees,
    p.funding,
    p.other,
    p.net,
    p.open_costs,
    p.fills,
    c.claimed,
    c.trades
  from (from pnl.by_session) p
  full join claimed c using (account, scope, bot, session_date)
) s
join config.accounts a using (account)
where session_date between a.first_date and a.last_date
