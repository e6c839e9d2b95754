-- grain: one side of a conversion of one currency into another; key: account, entry_id
-- replaces: (k.account, k.session_date) in (from affected.days)
-- let: days_from = select coalesce(min(session_date), date '9999-12-31') from affected.days
select l.account, l.session_date, l.entry_id, l.at, l.currency, l.balance_change
from evidence.ledger l
join config.accounts a on a.account = l.account and a.venue = 'okx'
semi join affected.days t on t.account = l.account and t.session_date = l.session_date
where l.session_date >= getvariable('days_from') and l.kind = 'conversion'
