-- grain: one closed position that is not tonight what it was
select s.*
from staging.okx_closed_positions s
anti join evidence.closed_positions e
  on e.account = s.account and e.position_id = s.position_id and e.closed_at = s.closed_at
  and e.opened_at = s.opened_at and e.instrument = s.instrument and e.closed_qty = s.closed_qty
