-- grain: one currency held, of the latest snapshot; key: account, currency. An amount that cannot be
-- read is null, and goes to quarantine.
with taken as (
  select c.account, max(c.served_to) as taken_at
  from raw.coverage c
  join config.exchanges x on x.account = c.account and x.exchange = c.venue
  where c.kind = 'coin' and c.status = 'complete'
  group by c.account
)

select
  r.account,
  r.id as currency,
  exact(r.payload ->> 'total') as amount,
  t.taken_at
from raw.staged_records r
join config.exchanges x on x.account = r.account and x.exchange = r.venue
left join taken t on t.account = r.account
where r.kind = 'coin'
