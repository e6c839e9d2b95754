-- grain: one corporate action that is not tonight what it was, as it was or as it is
with before as (
  select e.*
  from evidence.lot_events e
  semi join raw.revised r
    on r.account = e.account and r.kind = e.source_kind and r.id = e.source_id
)

from ((from before except all from staging.lot_events)
  union all (from staging.lot_events except all from before))
