-- grain: one currency whose equity is held to what happened, closing ones included; key: all columns
select account, name, place, difference, is_closed
from proofs.okx_equity
union all
select account, name, place, difference, is_closed
from proofs.flex_equity
