-- grain: one closed position that is not tonight what it was, as it was or as it is
with before as (
  select e.*
  from evidence.closed_positions e
  semi join raw.revised r
    on r.account = e.account and r.kind = e.source_kind and r.id = e.source_id
)

from ((from before except all from staging.okx_closed_positions)
  union all (from staging.okx_closed_positions except all from before))
