-- Σ bots + unowned = account, to the unit, wherever one instrument was traded by one owner: only
-- bots that share an instrument net each other. Returns the instruments where that does not hold.
with sums as (
  select
    account,
    instrument,
    count(distinct coalesce(bot, '')) filter (scope = 'bot') as owners,
    sum(case scope when 'bot' then gross else -gross end) as gross,
    sum(case scope when 'bot' then fees else -fees end) as fees,
    sum(case scope when 'bot' then funding else -funding end) as funding,
    sum(case scope when 'bot' then other else -other end) as other,
    sum(case scope when 'bot' then carried else -carried end) as carried
  from lots.realised
  group by account, instrument
)

from sums
where owners = 1 and (gross <> 0 or fees <> 0 or funding <> 0 or other <> 0 or carried <> 0)
