-- grain: one fill of any venue; key: account, fill_id
-- view
from staging.okx_fills
union all by name
from staging.flex_fills
union all by name
from staging.tws_fills
union all by name
from staging.ccxt_fills
