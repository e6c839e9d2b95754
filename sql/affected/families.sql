-- grain: one instrument that hands lots to another, or takes them; key: account, instrument
-- `family` is the same for all that are connected: by an exercise, or by another name.
with recursive edges as (
  select account, instrument, to_instrument as other from evidence.handovers
  union
  select account, to_instrument, instrument from evidence.handovers
),

reached as (
  select account, instrument, other as member from edges
  union
  select r.account, r.instrument, e.other
  from reached r
  join edges e on e.account = r.account and e.instrument = r.member
)

select account, instrument, min(member) as family
from reached
group by account, instrument
