-- grain: what one session did to what an account is worth, by contract and currency; key: account,
-- session_date, instrument (null: no contract), currency. See okx_legs.
-- replaces: exists (from affected.flows t where t.account = k.account and t.session_date = k.session_date and t.instrument is not distinct from k.instrument)
-- let: flows_from = select coalesce(min(session_date), date '9999-12-31') from affected.flows
-- let: flows_to = select max(session_date) from affected.flows
select
  l.account,
  l.session_date,
  l.instrument,
  l.currency,
  sum(l.qty)::decimal(38, 18) as qty,
  whole_sum(l.amount) as amount,
  sum(l.value_amount)::decimal(38, 18) as value_amount,
  count(*) as legs
from proofs.okx_legs l
semi join affected.flows t
  on t.account = l.account and t.session_date = l.session_date
  and t.instrument is not distinct from l.instrument
where l.session_date between getvariable('flows_from') and getvariable('flows_to')
group by all
