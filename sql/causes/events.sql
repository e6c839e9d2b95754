-- grain: one thing that happened to the lots of these instruments since the window began, the nights
-- after it included; key: account, kind, event_id
select e.*, m.family
from evidence.events e
join causes.instruments i on i.account = e.account and i.instrument = e.instrument
join config.accounts a on a.account = e.account
left join affected.families m on m.account = e.account and m.instrument = e.instrument
where e.session_date >= a.first_date
