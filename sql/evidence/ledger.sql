-- grain: one movement of cash of any venue, of every night; key: account, entry_id
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.revised)
from staging.ledger
