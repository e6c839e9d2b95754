-- grain: one movement of cash as the broker's rows tell it, of every night; key: account, source_kind, source_id, part
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.revised)
from staging.flex_cash
