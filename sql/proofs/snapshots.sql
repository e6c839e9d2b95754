-- grain: one account whose venue stated its positions; key: account
-- The lots know each position as a session left it: `from_session` is the one from which fills are
-- added to that, up to the instant of the statement.
with snapshot as (
  select c.account, max(c.served_to) as taken_at
  from raw.coverage c
  join config.accounts a on a.venue = c.venue and a.account = c.account
  where c.evidence = 'positions' and c.kind in ('position', 'OpenPosition') and c.status = 'complete'
  group by c.account
)

select
  t.account,
  t.taken_at,
  a.first_date,
  coalesce(s.session_date, a.last_date + 1) as session_date,
  a.is_by_trade_date,
  least(coalesce(s.session_date, a.last_date + 1), r.last_session + 1) as from_session
from snapshot t
join config.accounts a on a.account = t.account
join lots.through r on r.account = t.account
left join config.sessions s
  on s.account = t.account and s.start_at < t.taken_at and t.taken_at <= s.end_at
