-- Σ bots + unowned = account, to the unit. What was paid (fees, funding, other) is the same on both
-- sides of every instrument, and so is PnL where one owner alone has ever traded it: only bots that
-- share an instrument net each other's gross. Instruments that hand lots to each other are held to it
-- together: what an exercised option had cost goes on in another's lots. Returns the instruments, of those that were run again,
-- where that does not hold.
with unknown as (
  -- What cannot be valued is null on one side and part of a sum on the other: held against nothing.
  select distinct r.account, coalesce(f.family, r.instrument) as family, r.session_date
  from lots.realised r
  left join affected.families f on f.account = r.account and f.instrument = r.instrument
  where
    r.session_date >= getvariable('lots_from') and r.scope <> 'broker'
    and (r.gross is null or r.fees is null or r.funding is null or r.other is null
      or r.open_costs is null)
),

sums as (
  select
    r.account,
    coalesce(f.family, r.instrument) as family,
    sum(case r.scope when 'bot' then r.gross else -r.gross end) as gross,
    sum(case r.scope when 'bot' then r.fees else -r.fees end) as fees,
    sum(case r.scope when 'bot' then r.funding else -r.funding end) as funding,
    sum(case r.scope when 'bot' then 1 else -1 end * (r.fees + r.funding + r.other + r.open_costs))
      as paid
  from lots.realised r
  join affected.lots t
    on t.account = r.account and t.instrument = r.instrument and r.session_date >= t.from_session
  left join affected.families f on f.account = r.account and f.instrument = r.instrument
  anti join unknown u
    on u.account = r.account and u.family = coalesce(f.family, r.instrument)
    and u.session_date = r.session_date
  where r.session_date >= getvariable('lots_from') and r.scope <> 'broker'
  group by r.account, coalesce(f.family, r.instrument)
),

owned as (
  select b.account, coalesce(f.family, b.instrument) as family,
    count(distinct coalesce(b.bot, '')) as owners
  from lots.closing_books b
  left join affected.families f on f.account = b.account and f.instrument = b.instrument
  semi join affected.lots t on t.account = b.account and t.instrument = b.instrument
  where b.scope = 'bot' and b.until_session = date '9999-12-31'
  group by b.account, coalesce(f.family, b.instrument)
)

select s.*
from sums s
left join owned o on o.account = s.account and o.family = s.family
where s.paid <> 0 or o.owners = 1 and (s.gross <> 0 or s.fees <> 0 or s.funding <> 0)
