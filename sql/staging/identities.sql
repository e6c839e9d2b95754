-- grain: one thing that a venue once said of itself, and that must not change; key: all columns
from staging.okx_identities
union all by name
from staging.flex_identities
union all by name
from staging.tws_identities
union all by name
from staging.ccxt_identities
