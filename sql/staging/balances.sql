-- grain: one currency's balance of the latest statement; key: account, currency
select account, currency, amount, taken_at
from staging.okx_balances
union all by name
select account, currency, amount, taken_at
from staging.tws_balances
union all by name
from staging.ccxt_balances
