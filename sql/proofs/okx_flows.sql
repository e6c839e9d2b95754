-- grain: what one session did to what an account is worth, by contract and currency; key: account,
-- session_date, instrument (null: no contract), currency. See okx_legs.
-- replaces: (k.account, k.session_date) in (from touched.days)
-- let: days_from = select coalesce(min(session_date), date '9999-12-31') from touched.days
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
semi join touched.days t on t.account = l.account and t.session_date = l.session_date
where l.session_date >= getvariable('days_from')
group by all
