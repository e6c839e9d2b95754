-- grain: one session of an instrument in which what the broker states is not what it was
with before as (
  select e.*
  from evidence.stated_pnl e
  semi join raw.revised r
    on r.account = e.account and r.kind = e.source_kind and r.id = e.source_id
)

select distinct account, instrument, session_date
from ((from before except all from staging.flex_stated_pnl)
  union all (from staging.flex_stated_pnl except all from before))
