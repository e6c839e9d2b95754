-- grain: one currency of the latest balance snapshot; key: account, currency
-- A snapshot without a list of details is one row that says nothing, and goes to quarantine.
with details as (
  select
    r.account,
    unnest(
      case json_type(r.payload -> 'details')
        when 'ARRAY' then (r.payload -> 'details')::json[]
        else ['{}'::json]
      end
    ) as detail
  from raw.staged_records r
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
  exact(d.detail ->> 'eq') as equity_amount,
  exact(d.detail ->> 'upl') as unrealised_amount,
  coalesce(exact(d.detail ->> 'interest'), 0) as interest_amount,
  t.taken_at
from details d
left join taken t on t.account = d.account
