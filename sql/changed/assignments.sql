-- grain: one order or fill that is assigned otherwise than when its lots were last run; key: all columns
with now as (
  select x.account, x.is_order, x.id, x.bot from config.assignments x semi join config.accounts using (account)
),

before as (
  select x.* from evidence.assignments x semi join config.accounts using (account)
)

select distinct account, is_order, id
from ((from now except all from before) union all by name (from before except all from now))
