-- grain: one position that OKX says was closed, or partly closed, inside the window; key: account,
-- position_id (posId/uTime)
select account, 'position-history' as source_kind, position_id as source_id, * exclude (account, reason)
from staging.okx_parsed_closed_positions
where reason is null and closed_qty > 0
