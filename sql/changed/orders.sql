-- grain: one order of which something else is known tonight of who placed it, as it was or as it is
with before as (
  select e.account, e.order_id, e.placed_at, e.client_order_id, e.algo_client_order_id
  from evidence.orders e
  semi join raw.revised r
    on r.account = e.account and r.kind = e.source_kind and r.id = e.source_id
),

again as (
  select s.account, s.order_id, s.placed_at, s.client_order_id, s.algo_client_order_id
  from staging.okx_orders s
  semi join raw.revised r
    on r.account = s.account and r.kind = s.source_kind and r.id = s.source_id
)

select s.account, s.order_id, s.placed_at
from staging.okx_orders s
anti join raw.revised r
  on r.account = s.account and r.kind = s.source_kind and r.id = s.source_id
union all by name
select account, order_id, placed_at
from ((from before except all from again) union all by name (from again except all from before))
