-- grain: one record by which lots go from an instrument to another; key: account, source_kind, source_id
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.revised)
select account, source_kind, source_id, instrument, to_instrument
from staging.fills
where to_instrument is not null
union all
select account, source_kind, source_id, instrument, to_instrument
from staging.lot_events
where to_instrument is not null
