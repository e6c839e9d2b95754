-- grain: one session in which more of a coin was sold than was held; key: all columns
-- Nobody can be short of a coin that they don't borrow: what was sold was held before the window began.
-- replaces: exists (from affected.lots t where t.account = k.account and t.instrument = k.instrument and k.session_date >= t.from_session)
with held as (
  select
    e.account,
    e.instrument,
    e.session_date,
    coalesce(b.qty, 0) + sum(e.qty + case when e.fee_in = 'base' then e.amount else 0 end) over (
      partition by e.account, e.instrument
      order by e.session_date, e.at, e.seq, e.event_id
      rows between unbounded preceding and current row
    ) as qty
  from affected.events e
  semi join (from evidence.instruments where instrument_kind = 'spot') i
    on i.account = e.account and i.instrument = e.instrument
  anti join (from evidence.instruments where instrument_kind = 'margin') m
    on m.account = e.account and m.instrument = e.instrument
  join affected.lots t on t.account = e.account and t.instrument = e.instrument
  left join lots.closing_books b
    on b.account = e.account and b.instrument = e.instrument and b.scope = 'account'
    and b.session_date < t.from_session and b.until_session >= t.from_session
  where e.kind in ('fill', 'opening')
)

select distinct account, instrument, session_date
from held
where qty < 0
