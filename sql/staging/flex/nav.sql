-- grain: what IBKR says of the account's net asset value, in its base currency; key: account, source_id, kind
-- From ChangeInNAV: `starting` and `ending` of a period, and what moved it, by kind. From
-- EquitySummaryByReportDateInBase: `equity` of one day, and of that `accruals`, which no cash has
-- moved yet. `lacks` are the fields of a kind that the row does not have. In another base currency than the account's they are not read.
with texts as (
  select r.account, r.kind as source_kind, r.id as source_id, f.day as from_date,
    coalesce(t.day, d.day) as to_date, r.payload
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  left join staging.flex_clock f on f.text = r.payload ->> 'fromDate'
  left join staging.flex_clock t on t.text = r.payload ->> 'toDate'
  left join staging.flex_clock d on d.text = r.payload ->> 'reportDate'
  anti join staging.flex_bases b on b.account = r.account and b.currency <> a.currency
  where r.venue = 'ibkr-flex' and r.kind in ('ChangeInNAV', 'EquitySummaryByReportDateInBase')
    and coalesce(nullif(r.payload ->> 'currency', ''), a.currency) = a.currency
),

fields (source_kind, kind, field) as (
  values
    ('ChangeInNAV', 'starting', 'startingValue'), ('ChangeInNAV', 'ending', 'endingValue'),
    ('ChangeInNAV', 'transfer', 'depositsWithdrawals'),
    ('ChangeInNAV', 'transfer', 'internalCashTransfers'),
    ('ChangeInNAV', 'dividend', 'dividends'),
    ('ChangeInNAV', 'tax', 'withholdingTax'), ('ChangeInNAV', 'tax', 'withholding871m'),
    ('ChangeInNAV', 'interest', 'interest'),
    ('ChangeInNAV', 'fee', 'otherFees'), ('ChangeInNAV', 'fee', 'advisorFees'),
    ('ChangeInNAV', 'fee', 'brokerFees'), ('ChangeInNAV', 'fee', 'clientFees'),
    ('ChangeInNAV', 'commission', 'commissions'), ('ChangeInNAV', 'commission', 'forexCommissions'),
    ('ChangeInNAV', 'transaction tax', 'transactionTax'),
    ('ChangeInNAV', 'transaction tax', 'salesTax'),
    ('EquitySummaryByReportDateInBase', 'equity', 'total'),
    ('EquitySummaryByReportDateInBase', 'accruals', 'dividendAccruals'),
    ('EquitySummaryByReportDateInBase', 'accruals', 'interestAccruals'),
    ('EquitySummaryByReportDateInBase', 'accruals', 'brokerFeesAccrualsComponent')
)

select t.account, t.source_kind, t.source_id, t.from_date, t.to_date, f.kind,
  sum(exact(t.payload ->> f.field))::decimal(38, 18) as stated,
  string_agg(f.field, ', ' order by f.field) filter (t.payload ->> f.field is null) as lacks
from texts t
join fields f on f.source_kind = t.source_kind
group by all
having count(exact(t.payload ->> f.field)) > 0
