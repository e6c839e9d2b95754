-- grain: one record that cannot be read; key: account, kind, id. Its account is unproven.
from staging.okx_quarantine
union all by name
from staging.flex_quarantine
union all by name
from staging.tws_quarantine
union all by name
from staging.ccxt_quarantine
