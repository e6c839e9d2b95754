-- grain: one way in which fills and costs of a session were valued; key: account, session_date, valued
-- Null where there is no rate: unknown.
-- replaces: exists (from touched.sessions t where t.account = k.account and k.session_date >= t.from_session)
select account, session_date, valued, count(*) as n
from (
  select f.account, f.session_date, coalesce(f.valued, case when f.rate = 1 then 'exact' end) as valued
  from evidence.fills f
  join touched.sessions t on t.account = f.account and f.session_date >= t.from_session
  join touched.spans s on s.account = f.account and f.session_date between s.first_date and s.last_session
  where f.session_date >= getvariable('lots_from')
  union all
  select l.account, l.session_date, coalesce(l.valued, case when l.rate = 1 then 'exact' end)
  from evidence.ledger l
  join touched.sessions t on t.account = l.account and l.session_date >= t.from_session
  join touched.spans s on s.account = l.account and l.session_date between s.first_date and s.last_session
  where l.session_date >= getvariable('lots_from') and l.kind in (from config.lot_kinds)
)
group by all
order by all
