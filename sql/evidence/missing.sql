-- grain: one row of a statement that lacks a field which it needs, of every night;
-- key: account, source_kind, source_id, field
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.restaged)
from staging.flex_missing
