-- grain: one record that is understood and not yet valued, and why; key: all columns
-- Its account is unproven. What only one venue does is found in that venue's own query.
from staging.okx_findings
union all by name
from staging.flex_findings
union all by name
from staging.tws_findings
union all by name
from staging.ccxt_findings
union all by name
select
  f.account,
  f.source_kind,
  f.source_id,
  f.instrument,
  'settles in ' || f.currency || ', and no rate to ' || a.currency || ' is known'
  || rate_remedy(a.venue) as reason
from staging.fills f
join config.accounts a on a.account = f.account
where f.rate is null
union all by name
select
  l.account,
  l.source_kind,
  l.source_id,
  coalesce(l.instrument, l.currency) as instrument,
  l.kind || ' in ' || l.currency || ', and no rate to ' || a.currency || ' is known'
  || rate_remedy(a.venue) as reason
from staging.ledger l
join config.accounts a on a.account = l.account
where l.rate is null and l.kind in ('funding', 'interest', 'dividend', 'tax', 'fee', 'penalty')
union all by name
select
  f.account,
  f.source_kind,
  f.source_id,
  f.instrument,
  'a fee in ' || f.fee_currency || ' has no known value in ' || f.currency || rate_remedy(a.venue) as reason
from staging.fills f
join config.accounts a on a.account = f.account
where f.fee <> 0 and f.fee_currency not in (f.currency, coalesce(f.base_currency, f.currency))
  and f.fee_rate is null
