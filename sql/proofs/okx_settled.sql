-- grain: what the settlement of one future paid in one session; key: account, instrument, session_date
-- In its settlement currency.
-- let: days_from = select coalesce(min(session_date), date '9999-12-31') from affected.days
-- replaces: (k.account, k.session_date) in (from affected.days)
select l.account, l.instrument, l.session_date, sum(l.amount)::decimal(38, 18) as amount
from evidence.ledger l
semi join affected.days t on t.account = l.account and t.session_date = l.session_date
where l.session_date >= getvariable('days_from') and l.kind = 'settlement'
group by l.account, l.instrument, l.session_date
