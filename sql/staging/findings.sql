-- grain: one thing that is understood and not yet valued; key: account, instrument, reason.
-- Its account is unproven. What only one venue does is found in that venue's own query.
from staging.okx_findings
union all by name
from staging.flex_findings
union all by name
-- Nobody can be short of a coin: what was sold was held before.
select distinct
  h.account,
  h.instrument,
  'more was sold than was bought since the window began: what was held before has no known cost'
    as reason
from (
  select
    f.account,
    f.instrument,
    sum(f.qty + case when f.fee_currency = f.base_currency then f.fee else 0 end)
      over (partition by f.account, f.instrument order by f.at, f.seq) as held
  from staging.fills f
  join config.accounts a on a.account = f.account
  where f.instrument_kind = 'spot' and f.session_date >= a.first_date
) h
where h.held < 0
union all by name
select distinct
  f.account,
  f.instrument,
  'settles in ' || f.currency || ', and no rate to ' || a.currency || ' is known' as reason
from staging.fills f
join config.accounts a on a.account = f.account
where f.rate is null
union all by name
select distinct
  l.account,
  coalesce(l.instrument, l.currency) as instrument,
  l.kind || ' in ' || l.currency || ', and no rate to ' || a.currency || ' is known' as reason
from staging.ledger l
join config.accounts a on a.account = l.account
where l.rate is null and l.kind in ('funding', 'interest', 'dividend', 'tax', 'fee', 'penalty')
union all by name
select distinct
  account,
  instrument,
  'a fee in ' || fee_currency || ' has no known value in ' || currency as reason
from staging.fills
where fee <> 0 and fee_currency not in (currency, coalesce(base_currency, currency))
