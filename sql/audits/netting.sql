-- Σ bots + unowned = account, to the unit. What was paid (fees, funding, other) is the same on both
-- sides of every instrument, and so is PnL where one owner alone traded it: only bots that share an
-- instrument net each other's gross. Returns the instruments where that does not hold.
with sums as (
  select
    account,
    instrument,
    count(distinct coalesce(bot, '')) filter (scope = 'bot') as owners,
    sum(case scope when 'bot' then gross else -gross end) as gross,
    sum(case scope when 'bot' then fees else -fees end) as fees,
    sum(case scope when 'bot' then funding else -funding end) as funding,
    sum(case scope when 'bot' then 1 else -1 end * (fees + funding + other + carried)) as paid
  from lots.realised
  group by account, instrument
)

from sums
where paid <> 0 or owners = 1 and (gross <> 0 or fees <> 0 or funding <> 0)
