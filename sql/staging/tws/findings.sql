-- grain: one execution of TWS's that is understood, but not valued, and why; key: all columns
-- What happened before the account's window is not its concern.
select
  f.account,
  'execution' as source_kind,
  f.exec_id as source_id,
  f.session_date,
  f.instrument,
  case
    when f.verdict = 'conversion' then 'FX conversions (CASH rows) are not valued'
    else 'TWS says that the price of execution ' || f.exec_id || ' is still to be revised'
  end as reason
from staging.tws_parsed_executions f
join config.accounts a on a.account = f.account
where
  f.session_date >= a.first_date
  and (f.verdict = 'conversion' or f.verdict = 'fill' and f.is_price_pending)
