-- grain: what IBKR's cash report says of a kind of movement in a period; key: account, source_id, kind
-- One currency a report; of their sum in the base currency (`BASE_SUMMARY`) the commissions alone.
-- `change` is ending − starting.
-- `lacks` are the fields of a kind that the report does not have.
with texts as (
  select
    r.account,
    r.id as source_id,
    coalesce(r.payload ->> 'currency', '') as currency,
    f.day as from_date,
    t.day as to_date,
    r.payload
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  left join staging.flex_clock f on f.text = r.payload ->> 'fromDate'
  left join staging.flex_clock t on t.text = r.payload ->> 'toDate'
  where r.venue = 'ibkr-flex' and r.kind = 'CashReportCurrency'
    and r.payload ->> 'currency' <> ''
    and (
      r.payload ->> 'currency' = 'BASE_SUMMARY'
      or coalesce(r.payload ->> 'levelOfDetail', '') <> 'BaseCurrency'
    )
),

fields (kind, field) as (
  values
    ('commission', 'commissions'),
    ('trade', 'netTradesSales'), ('trade', 'netTradesPurchases'),
    ('transfer', 'depositWithdrawals'), ('transfer', 'accountTransfers'),
    ('transfer', 'internalTransfers'),
    ('dividend', 'dividends'), ('dividend', 'paymentInLieu'),
    ('tax', 'withholdingTax'), ('tax', 'withholding871m'),
    ('interest', 'brokerInterest'), ('interest', 'bondInterest'),
    ('fee', 'otherFees'), ('fee', 'advisorFees'), ('fee', 'brokerFees'), ('fee', 'clientFees'),
    ('transaction tax', 'transactionTax'), ('transaction tax', 'salesTax'),
    ('settlement', 'cashSettlingMtm'), ('settlement', 'realizedVm'), ('settlement', 'cfdCharges')
)

select t.account, t.source_id, t.currency, t.from_date, t.to_date, f.kind,
  sum(exact(t.payload ->> f.field))::decimal(38, 18) as stated,
  string_agg(f.field, ', ' order by f.field) filter (t.payload ->> f.field is null) as lacks
from texts t
join fields f on t.currency <> 'BASE_SUMMARY' or f.kind = 'commission'
group by all
having count(exact(t.payload ->> f.field)) > 0
union all
select account, source_id, currency, from_date, to_date, 'change',
  exact(payload ->> 'endingCash') - exact(payload ->> 'startingCash'),
  nullif(concat_ws(
    ', ',
    case when payload ->> 'cashSettlingMtm' is null then 'cashSettlingMtm' end,
    case when payload ->> 'realizedVm' is null then 'realizedVm' end,
    case when payload ->> 'cfdCharges' is null then 'cfdCharges' end
  ), '')
from texts
where currency <> 'BASE_SUMMARY'
