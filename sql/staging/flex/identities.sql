-- grain: one IBKR account whose statements came; key: all columns
select distinct
  r.account,
  r.kind,
  '' as id,
  coalesce(r.payload ->> '$.attributes.accountId', '') as identity
from raw.run_snapshots r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.venue = 'ibkr-flex' and r.kind = 'FlexStatement'
