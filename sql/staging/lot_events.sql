-- grain: one corporate action that changes open lots, and is no fill; key: account, event_id
-- view
from staging.flex_lot_events
