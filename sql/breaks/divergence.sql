-- grain: one bot, over the window and over the as-of session; key: bot, span ('window' or 'session')
-- Claim beside truth; which lies how far from which is for judgement. A bot whose books could not
-- be read has no claim: null. One that traded nothing has a truth of 0, given by its account's proof.
with spans as (
  select b.bot, b.account, span, a.first_date, a.last_date
  from config.bots b
  join config.accounts a on a.account = b.account
  cross join (values ('window'), ('session')) as v (span)
),

claimed as (
  select s.bot, s.span, whole_sum(c.claimed) as claimed, sum(c.trades)::bigint as trades
  from spans s
  left join claimed.by_session c
    on c.bot = s.bot and c.session_date between s.first_date and s.last_date
    and (s.span = 'window' or c.session_date = s.last_date)
  semi join bot_database.readable r on r.bot = s.bot
  group by s.bot, s.span
)

select
  s.bot,
  s.account,
  s.span,
  case when c.bot is not null and c.trades is null then 0::decimal(38, 18) else c.claimed end as claimed,
  coalesce(c.trades, 0) as trades,
  t.gross,
  t.fees,
  t.funding,
  t.other,
  t.net,
  t.open_costs,
  t.fills
from spans s
left join claimed c on c.bot = s.bot and c.span = s.span
left join (
  select bot, 'window' as span, * exclude (bot, account, scope) from pnl.total where scope = 'bot'
  union all by name
  select p.bot, 'session' as span, p.* exclude (bot, account, scope)
  from pnl.by_session p
  join config.accounts a on a.account = p.account
  where p.scope = 'bot' and p.session_date = a.last_date
) t on t.bot = s.bot and t.span = s.span
order by s.bot, s.span desc
