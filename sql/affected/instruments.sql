-- grain: one instrument of which a fill, a closed position or what it was charged changed; key: account, instrument
-- A closed position counts from its opening: who stood beside it, and was held to its fills, may not have.
select account, instrument, min("at") as from_at
from (
  select account, instrument, "at" from changed.fills
  union all
  select account, instrument, least(opened_at, closed_at) from changed.closed_positions
  union all
  select account, instrument, "at" from changed.ledger
  where kind in ('funding', 'penalty', 'settlement') and instrument is not null
)
group by all
