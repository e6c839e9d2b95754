-- grain: one instrument of which these bots' divergences are explained; key: account, instrument
-- What they have traded, by the broker's fills or by their own books, with all that hands it lots.
with traded as (
  select b.account, r.instrument
  from breaks.differing b
  join (select distinct account, instrument, bot from lots.realised where scope = 'bot') r
    on r.account = b.account and r.bot = b.bot
  union
  select account, instrument from causes.matched
)

select distinct t.account, coalesce(o.instrument, t.instrument) as instrument
from traded t
left join affected.families f on f.account = t.account and f.instrument = t.instrument
left join affected.families o on o.account = f.account and o.family = f.family
