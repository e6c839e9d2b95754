-- grain: one day on which cash did not move as it was known to
with before as (
  select e.*
  from evidence.cash_moves e
  semi join raw.revised r
    on r.account = e.account and r.kind = e.source_kind and r.id = e.source_id
)

select distinct account, day
from ((from before except all from staging.flex_cash)
  union all (from staging.flex_cash except all from before))
