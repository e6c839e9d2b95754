-- grain: one record of which the broker says what it realised, of every night; key: account, source_kind, source_id
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.revised)
from staging.flex_stated_pnl
