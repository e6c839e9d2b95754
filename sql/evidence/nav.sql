-- grain: what the broker says of the net asset value, of every night; key: account, source_kind, source_id, kind
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.restaged)
from staging.flex_nav
