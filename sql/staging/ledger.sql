-- grain: one movement of cash of any venue; key: account, entry_id
-- view
from staging.okx_ledger
union all by name
from staging.flex_ledger
union all by name
from staging.ccxt_ledger
