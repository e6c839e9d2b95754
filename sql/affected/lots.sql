-- grain: one instrument whose lots are run again, and from which session on; key: account, instrument
-- Because something of it changed inside what was run before, or came after it, or because a fill of
-- it may have another owner; and instruments that hand lots to each other are run again together.
-- let: run_through = select min(through) from affected.spans
with moved as (
  select account, instrument, session_date from changed.fills
  union all
  select account, coalesce(instrument, '') as instrument, session_date
  from changed.ledger
  where kind in (from config.lot_kinds)
  union all
  select account, unnest([instrument, to_instrument]), session_date from changed.lot_events
  union all
  select account, instrument, session_date from affected.reattributed
  union all
  select f.account, f.instrument, f.session_date
  from evidence.fills f
  join affected.spans s on s.account = f.account
  where f.session_date > s.through and f.session_date > getvariable('run_through')
  union all
  select l.account, coalesce(l.instrument, '') as instrument, l.session_date
  from evidence.ledger l
  join affected.spans s on s.account = l.account
  where
    l.session_date > s.through and l.session_date > getvariable('run_through')
    and l.kind in (from config.lot_kinds)
  union all
  select e.account, unnest([e.instrument, e.to_instrument]), e.session_date
  from evidence.lot_events e
  join affected.spans s on s.account = e.account
  where e.session_date > s.through and e.session_date > getvariable('run_through')
),

spread as (
  select m.account, coalesce(f.family, m.instrument) as family,
    coalesce(o.instrument, m.instrument) as instrument, m.session_date
  from moved m
  left join affected.families f on f.account = m.account and f.instrument = m.instrument
  left join affected.families o on o.account = f.account and o.family = f.family
  where m.instrument is not null
),

-- Where a cost had more digits than a table can hold, no later night can go on from it; and what was
-- held before the window is booked when its instrument is first traded.
begun as (
  select
    m.account,
    m.family,
    m.instrument,
    case
      when bool_or(b.account is not null) or bool_or(o.account is not null)
        then any_value(s.first_date)
      else min(m.session_date)
    end as from_session,
    any_value(s.last_session) as last_session
  from spread m
  join affected.spans s on s.account = m.account
  left join lots.closing_books b
    on b.account = m.account and b.instrument = m.instrument
    and (b.cost is null or b.funding is null)
  left join (
    select distinct account, instrument
    from config.opening
    anti join lots.closing_books using (account, instrument)
  ) o on o.account = m.account and o.instrument = m.instrument
  where m.session_date between s.first_date and s.last_session
  group by m.account, m.family, m.instrument
)

select
  account,
  instrument,
  min(from_session) over (partition by account, family) as from_session,
  last_session
from begun
