-- grain: one fill that its venue has restated, as it was told first; key: account, event_id
-- IBKR restates a trade by another one: of that, the fills of its order as they are stand here too,
-- and what they were is not told.
select
  f.account,
  f.event_id,
  case when f.qty > 0 then 1 else -1 end * exact(r.payload::json ->> 'fillSz') as qty,
  exact(r.payload::json ->> 'fillPx') as price,
  exact(r.payload::json ->> 'fee') as amount
from causes.fills f
join raw.records r on r.account = f.account and r.id = f.event_id and r.kind = 'fill' and r.venue = 'okx'
where
  r.version = 1 and r.payload is not null
  and exists (
    from raw.records v
    where v.venue = 'okx' and v.account = f.account and v.kind = 'fill' and v.id = f.event_id and v.version > 1
  )
union all by name
select f.account, f.event_id
from causes.fills f
semi join evidence.corrections c
  on c.account = f.account and c.instrument = f.instrument and c.explains = 'order ' || f.order_id
