-- grain: one line of IBKR's statement of funds; key: account, source_id
-- `kind` says what moved the money, in the words of staging/flex/cash.sql. Of a trade's line the
-- commission and the taxes stand in fields of their own, and `amount` is all of it. A future's and a
-- CFD's gain is settled day by day: no other section says how much (`settlement`). A code that nobody
-- has told us of is `unknown`. Dates are those of the report.
select
  r.account,
  r.kind as source_kind,
  r.id as source_id,
  coalesce(p.day, d.day) as day,
  coalesce(r.payload ->> 'levelOfDetail', '') = 'BaseCurrency' as is_in_base,
  coalesce(r.payload ->> 'currency', '') as currency,
  exact(r.payload ->> 'amount') as amount,
  exact(r.payload ->> 'balance') as balance,
  coalesce(exact(r.payload ->> 'tradeCommission'), 0)::decimal(38, 18) as commission,
  coalesce(exact(r.payload ->> 'tradeTax'), 0)::decimal(38, 18) as tax,
  coalesce(r.payload ->> 'activityCode', '') as code,
  coalesce(r.payload ->> 'activityDescription', '') as description,
  case
    when code = '' and regexp_matches(description, '(?i)(starting|ending) balance') then 'balance'
    when r.payload ->> 'assetCategory' in ('FUT', 'CFD') then 'settlement'
    when code in ('BUY', 'SELL', 'SHORT', 'COVER', 'ASSIGN', 'EXE', 'EXP') then 'trade'
    when code = 'FOREX' and contains(lower(description), 'commission') then 'commission'
    when code = 'FOREX' then 'conversion'
    when code in ('DIV', 'PIL') then 'dividend'
    when code = 'FRTAX' then 'tax'
    when code in ('CINT', 'DINT') then 'interest'
    when code in ('OFEE', 'ADVFEE', 'ADV') then 'fee'
    when code in ('DEP', 'WITH') then 'transfer'
    when code = 'CORP' then 'action'
    when code = 'ADJ' and is_in_base and starts_with(description, 'FX Translation') then 'translation'
    when code = 'ADJ' then 'adjustment'
    else 'unknown'
  end as kind
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
left join staging.flex_clock p on p.text = r.payload ->> 'reportDate'
left join staging.flex_clock d on d.text = r.payload ->> 'date'
where r.venue = 'ibkr-flex' and r.kind = 'StatementOfFundsLine'
