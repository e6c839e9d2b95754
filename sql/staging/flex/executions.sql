-- grain: one row of a statement that names an execution of IBKR's; key: account, source_kind, source_id
-- What TWS calls it too: by that the one is held against the other.
select
  r.account,
  r.kind as source_kind,
  r.id as source_id,
  coalesce(r.payload ->> 'ibExecID', r.payload ->> 'execID') as exec_id
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
where
  r.venue = 'ibkr-flex' and r.kind in ('Trade', 'TradeConfirm')
  and coalesce(r.payload ->> 'levelOfDetail', 'EXECUTION') = 'EXECUTION'
  and coalesce(r.payload ->> 'ibExecID', r.payload ->> 'execID', '') not in ('', '-', '--', 'N/A')
