-- grain: one movement of cash of any venue; key: account, entry_id
from staging.okx_ledger
union all by name
from staging.flex_ledger
