-- grain: one thing that happened to lots that are run again; key: account, kind, event_id
-- What the lots program is fed tonight.
-- let: lots_from = select coalesce(min(from_session), date '9999-12-31') from affected.lots
select e.*, m.family
from evidence.events e
join affected.lots t on t.account = e.account and t.instrument = e.instrument
left join affected.families m on m.account = e.account and m.instrument = e.instrument
where
  e.session_date >= getvariable('lots_from')
  and e.session_date between t.from_session and t.last_session
