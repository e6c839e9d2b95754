-- grain: one currency of the latest balance snapshot; key: account, currency
with details as (
  select r.account, unnest((r.payload -> 'details')::json[]) as detail
  from raw.current r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  where r.venue = 'okx' and r.kind = 'balance'
),

taken as (
  select account, max(served_to) as taken_at
  from raw.coverage
  where venue = 'okx' and kind = 'balance' and status = 'complete'
  group by account
)

select
  d.account,
  d.detail ->> 'ccy' as currency,
  exact(d.detail ->> 'cashBal') as amount,
  t.taken_at
from details d
left join taken t on t.account = d.account
