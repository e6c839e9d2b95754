-- grain: one order as its venue gave it, of every night; key: account, order_id
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.revised)
from staging.okx_orders
