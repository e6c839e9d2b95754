-- Every raw fill, order, bill and position is staged or quarantined, once. Returns the kinds where not.
with raw_rows as (
  select r.account, r.kind, count(*) as n
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  where r.venue = 'okx' and r.kind in ('fill', 'order', 'bill', 'position')
  group by all
),

seen as (
  select account, 'fill' as kind from staging.okx_fills where source_kind = 'fill'
  union all select account, 'order' from staging.okx_orders
  union all select account, 'bill' from staging.okx_ledger
  union all select account, 'position' from staging.okx_parsed_positions where reason is null
  union all
  select account, kind from staging.okx_quarantine where kind in ('fill', 'bill', 'position')
)

select r.account, r.kind, r.n as raw_rows, count(s.account) as seen_rows
from raw_rows r
left join seen s on s.account = r.account and s.kind = r.kind
group by r.account, r.kind, r.n
having r.n <> count(s.account)
