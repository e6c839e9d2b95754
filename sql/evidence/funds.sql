-- grain: one line of the broker's statement of funds, of every night; key: account, source_id
-- A line that reads otherwise is another line: which of them hold, the statements say.
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.restaged)
from staging.flex_funds
