-- grain: one record of TWS's that cannot be read, and why; key: account, kind, id
-- A commission goes with its execution: both are tried again each night, together.
select account, 'execution' as kind, exec_id as id, reason
from staging.tws_parsed_executions
where verdict = 'quarantined'
union all by name
select account, 'commission' as kind, exec_id as id, 'its execution cannot be read' as reason
from staging.tws_parsed_executions
where verdict = 'quarantined' and has_commission
union all by name
select r.account, r.kind, r.id, 'a commission without its execution' as reason
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
where
  r.venue = 'ibkr-tws' and r.kind = 'commission'
  and not exists (
    from staging.tws_parsed_executions e where e.account = r.account and e.exec_id = r.id
  )
union all by name
select account, 'position' as kind, id, reason
from staging.tws_parsed_positions
where reason is not null
union all by name
select account, 'account-value' as kind, value_id as id, 'CashBalance is not an amount' as reason
from staging.tws_balances
where amount is null
