-- grain: one CashTransaction row as IBKR wrote it; key: account, id
-- `verdict`: entry, restated (a SUMMARY, or a row that is here with its level, too) or quarantined.
with texts as (
  select
    r.account,
    r.id,
    a.currency as account_currency,
    not exists (
      from staging.flex_bases b where b.account = r.account and b.currency <> a.currency
    ) as is_in_base,
    coalesce(upper(r.payload ->> 'levelOfDetail'), '') as level,
    starts_with(r.id, 'unlevelled/') as is_unlevelled,
    nullif(r.payload ->> 'type', '') as type,
    nullif(r.payload ->> 'dateTime', '') as time_text,
    nullif(r.payload ->> 'reportDate', '') as report_date_text,
    r.payload ->> 'amount' as amount_text,
    r.payload ->> 'fxRateToBase' as rate_text,
    coalesce(r.payload ->> 'currency', '') as currency,
    coalesce(n.instrument, y.instrument, nullif(trim(r.payload ->> 'symbol'), '')) as instrument,
    nullif(r.payload ->> 'tradeID', '') as trade_id,
    try_cast(r.payload ->> 'transactionID' as hugeint) as transaction_number
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  left join config.conids n on n.account = r.account and n.conid = trim(r.payload ->> 'conid')
  left join config.names y
    on y.account = r.account and coalesce(trim(r.payload ->> 'conid'), '') in ('', '0')
    and y.symbol = trim(r.payload ->> 'symbol')
    and flex_day(r.payload) >= y.from_day and flex_day(r.payload) < y.until_day
  where r.venue = 'ibkr-flex' and r.kind = 'CashTransaction'
),

read as (
  select
    t.*,
    exact(amount_text) as amount,
    case
      when type in ('Dividends', 'Payment In Lieu Of Dividends') then 'dividend'
      when type in ('Withholding Tax', '871(m) Withholding') then 'tax'
      when type in (
        'Broker Interest Paid', 'Broker Interest Received', 'Bond Interest Paid',
        'Bond Interest Received'
      ) then 'interest'
      when type in (
        'Other Fees', 'Broker Fees', 'Advisor Fees', 'Commission Adjustments', 'Price Adjustments'
      ) then 'fee'
      when type in ('Deposits/Withdrawals', 'Deposits & Withdrawals') then 'transfer'
    end as entry_kind,
    coalesce(c.at, c.midnight_at, p.midnight_at) as at,
    coalesce(c.flaw, p.flaw) as flaw,
    p.day as report_date,
    coalesce(p.day, c.day) as any_date
  from texts t
  left join staging.flex_clock c on c.text = t.time_text
  left join staging.flex_clock p on p.text = t.report_date_text
),

dated as (
  select
    r.*,
    -- A date that is no session belongs to the session that follows, and one from before the first
    -- session to none.
    case
      when timezone('America/New_York', timezone('UTC', following.start_at))::date < r.any_date
        then following.session_date
    end as following_date,
    coalesce(
      case when r.report_date is null then during.session_date end, following_date, r.any_date
    ) as session_date
  from read r
  asof left join config.sessions following
    on following.account = r.account and r.any_date <= following.session_date
  left join config.sessions during
    on during.account = r.account and r.at >= during.start_at and r.at < during.end_at
),

judged as (
  select
    d.*,
    level = 'SUMMARY' or is_unlevelled and exists (
      select 1 from texts t
      where t.account = d.account and t.id = substr(d.id, length('unlevelled/') + 1)
    ) as is_restated,
    nullif(concat_ws(
      '; ',
      case when level not in ('', 'DETAIL', 'SUMMARY')
        then 'levelOfDetail ' || level || ' is not known' end,
      case when is_unlevelled
        then 'levelOfDetail is missing, and other rows of this statement have one' end,
      case when type is null then 'type is missing: add the field Type to the Flex query' end,
      case when type is not null and entry_kind is null
        then 'type "' || type || '" is not known' end,
      case when amount is null then 'amount is missing or unreadable' end,
      case when currency = '' then 'currency is missing' end,
      case when time_text is null and report_date_text is null
        then 'dateTime and reportDate are missing' end,
      flaw
    ), '') as flaws
  from dated d
)

select
  j.* exclude (is_restated, flaws),
  -- Its own rate to the account's currency, else the statement's of its day, else of its session.
  case
    when amount is null or j.currency = '' then null
    when j.currency = account_currency then 1::decimal(38, 18)
    when is_in_base and exact(rate_text) > 0 then exact(rate_text)
    else coalesce(t.rate, s.rate)
  end as rate,
  case
    when amount is null or j.currency = '' then null
    when j.currency = account_currency then 'exact'
    when is_in_base and exact(rate_text) > 0 or t.rate is not null then 'converted'
    when s.rate is not null then 'estimated'
  end as valuation,
  -- Of the row alone, so that it is the same whatever is staged beside it; ties go by the id.
  coalesce(transaction_number, 0)::hugeint as seq,
  case
    when is_restated then 'restated'
    when flaws is not null then 'quarantined'
    else 'entry'
  end as verdict,
  case when not is_restated then flaws end as reason
from judged j
left join staging.flex_rates t
  on t.account = j.account and t.currency = j.currency and t.day = j.any_date
left join staging.flex_rates s
  on s.account = j.account and s.currency = j.currency and s.day = j.session_date
