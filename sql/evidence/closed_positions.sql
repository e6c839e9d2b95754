-- grain: one position that a venue says was closed, of every night; key: account, position_id
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.revised)
from staging.okx_closed_positions
