-- grain: one open position of the latest statement of any venue; key: account, instrument, position_side
from staging.okx_positions
union all by name
from staging.flex_positions
union all by name
from staging.tws_positions
union all by name
from staging.ccxt_positions
