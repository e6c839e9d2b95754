-- grain: one way in which fills and costs of a session were valued; key: account, session_date, valuation
-- Null where there is no rate: unknown.
-- replaces: (k.account, k.session_date) in (from affected.days)
-- let: valued_from = select coalesce(min(session_date), date '9999-12-31') from affected.days
select account, session_date, valuation, count(*) as n
from (
  select f.account, f.session_date, coalesce(f.valuation, case when f.rate = 1 then 'exact' end) as valuation
  from evidence.fills f
  where f.session_date >= getvariable('valued_from')
  union all
  select l.account, l.session_date, coalesce(l.valuation, case when l.rate = 1 then 'exact' end)
  from evidence.ledger l
  where l.session_date >= getvariable('valued_from') and l.kind in (from config.lot_kinds)
)
semi join affected.days using (account, session_date)
group by all
order by all
