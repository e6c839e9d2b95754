-- grain: one corporate action on open lots, of every night; key: account, event_id
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.revised)
from staging.lot_events
