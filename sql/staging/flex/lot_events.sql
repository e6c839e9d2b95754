-- grain: one change of open lots by a corporate action of IBKR's; key: account, event_id
-- `split`: `qty` is what the position changes by. `move`: `qty` is what leaves `instrument`, all of
-- it, to go on as `to_instrument`; where the quantity changes besides, a split follows.
select
  account,
  'CorporateAction' as source_kind,
  id as source_id,
  'move/' || id as event_id,
  e.at,
  0::hugeint as seq,
  session_date,
  old_instrument as instrument,
  'move' as kind,
  old_qty::decimal(38, 18) as qty,
  new_instrument as to_instrument
from staging.flex_parsed_actions e
where verdict = 'rename' and is_old
union all by name
select
  account,
  'CorporateAction' as source_kind,
  id as source_id,
  'split/' || id as event_id,
  e.at,
  1::hugeint as seq,
  session_date,
  coalesce(new_instrument, old_instrument) as instrument,
  'split' as kind,
  change::decimal(38, 18) as qty,
  null::varchar as to_instrument
from staging.flex_parsed_actions e
where verdict in ('split', 'rename') and is_first and change <> 0
