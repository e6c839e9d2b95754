-- grain: one currency's cash of the latest snapshot; key: account, currency
-- BASE is the sum of the others, and no currency.
with taken as (
  select account, max(served_to) as taken_at
  from raw.coverage
  where venue = 'ibkr-tws' and kind = 'account-value' and status = 'complete'
  group by account
)

select
  r.account,
  r.id as value_id,
  r.payload ->> 'currency' as currency,
  exact(r.payload ->> 'value') as amount,
  t.taken_at
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
left join taken t on t.account = r.account
where
  r.venue = 'ibkr-tws' and r.kind = 'account-value'
  and r.payload ->> 'key' = 'CashBalance' and r.payload ->> 'currency' <> 'BASE'
