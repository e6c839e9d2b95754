-- grain: one instrument held to the broker's own realised PnL, closing ones included; key: all columns
select account, name, place, difference, is_closed
from proofs.okx_broker_pnl
union all
select account, name, place, difference, is_closed
from proofs.flex_broker_pnl
