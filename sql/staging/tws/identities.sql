-- grain: one IBKR account that TWS has told of; key: all columns
select distinct r.account, r.kind, '' as id, coalesce(r.payload ->> 'account', '') as identity
from raw.run_snapshots r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.venue = 'ibkr-tws' and r.kind = 'account'
