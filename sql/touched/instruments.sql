-- grain: one instrument of which a fill or a closed position changed; key: account, instrument
select account, instrument, min("at") as from_at
from (
  select account, instrument, "at" from changes.fills
  union all
  select account, instrument, closed_at from changes.closed_positions
)
group by all
