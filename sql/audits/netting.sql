-- Σ bots + unowned = account, to the unit. What was paid (fees, funding, other) is the same on both
-- sides of every instrument, and so is PnL where one owner alone has ever traded it: only bots that
-- share an instrument net each other's gross. Returns the instruments, of those that were run again,
-- where that does not hold.
with unknown as (
  -- What cannot be valued is null on one side and part of a sum on the other: held against nothing.
  select distinct account, instrument, session_date
  from lots.realised
  where
    session_date >= getvariable('lots_from')
    and (gross is null or fees is null or funding is null or other is null or carried is null)
),

sums as (
  select
    r.account,
    r.instrument,
    sum(case r.scope when 'bot' then r.gross else -r.gross end) as gross,
    sum(case r.scope when 'bot' then r.fees else -r.fees end) as fees,
    sum(case r.scope when 'bot' then r.funding else -r.funding end) as funding,
    sum(case r.scope when 'bot' then 1 else -1 end * (r.fees + r.funding + r.other + r.carried))
      as paid
  from lots.realised r
  join touched.lots t
    on t.account = r.account and t.instrument = r.instrument and r.session_date >= t.from_session
  anti join unknown u
    on u.account = r.account and u.instrument = r.instrument and u.session_date = r.session_date
  where r.session_date >= getvariable('lots_from')
  group by r.account, r.instrument
),

owned as (
  select b.account, b.instrument, count(distinct coalesce(b.bot, '')) as owners
  from lots.closing_books b
  semi join touched.lots t on t.account = b.account and t.instrument = b.instrument
  where b.scope = 'bot' and b.until_session = date '9999-12-31'
  group by b.account, b.instrument
)

select s.*
from sums s
left join owned o on o.account = s.account and o.instrument = s.instrument
where s.paid <> 0 or o.owners = 1 and (s.gross <> 0 or s.fees <> 0 or s.funding <> 0)
