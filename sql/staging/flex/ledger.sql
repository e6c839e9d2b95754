-- grain: one cash movement at IBKR that is no trade's own; key: account, entry_id
-- Cash transactions, the commission of currency conversions, and the fees that remain where a trade was
-- cancelled and nothing of its order is left. A fill's commission is in its fill.
select
  account,
  'CashTransaction' as source_kind,
  id as source_id,
  id as entry_id,
  e.at,
  seq,
  session_date,
  entry_kind as kind,
  currency,
  amount,
  instrument,
  rate,
  valuation,
  null::decimal(38, 18) as balance_after,
  trade_id
from staging.flex_parsed_ledger e
where verdict = 'entry'
union all by name
select
  account,
  kind as source_kind,
  id as source_id,
  'conversion/' || id as entry_id,
  e.at,
  seq,
  session_date,
  'fee' as kind,
  fee_currency as currency,
  fee as amount,
  instrument,
  fee_rate as rate,
  fee_valued as valuation,
  null::decimal(38, 18) as balance_after,
  trade_id
from staging.flex_parsed_fills e
where verdict = 'conversion' and fee <> 0
union all by name
-- Money changed for money: both sides, and PnL of neither.
select
  account,
  kind as source_kind,
  id as source_id,
  'conversion/' || id || '/' || leg.currency as entry_id,
  e.at,
  seq,
  session_date,
  'conversion' as kind,
  leg.currency,
  leg.amount,
  instrument,
  case
    when leg.currency = account_currency then 1::decimal(38, 18)
    when leg.currency = e.currency then rate
  end as rate,
  case when leg.currency = account_currency then 'exact' when leg.currency = e.currency then valuation end
    as valuation,
  null::decimal(38, 18) as balance_after,
  trade_id
from (
  select
    *,
    unnest([
      {'currency': split_part(instrument, '.', 1), 'amount': qty},
      {'currency': currency, 'amount': proceeds}
    ]) as leg
  from staging.flex_parsed_fills
  where verdict = 'conversion' and proceeds is not null
    and split_part(instrument, '.', 2) = currency and split_part(instrument, '.', 1) <> currency
) e
union all by name
-- Of the cancelled booking's own record, and not of its cancel's.
select
  e.account,
  e.kind as source_kind,
  e.id as source_id,
  'cancelled/' || e.id || '/' || c.fee_currency as entry_id,
  e.at,
  e.seq,
  e.session_date,
  'fee' as kind,
  c.fee_currency as currency,
  c.fee as amount,
  e.instrument,
  e.fee_rate as rate,
  e.fee_valued as valuation,
  null::decimal(38, 18) as balance_after,
  e.trade_id
from staging.flex_corrected_fees c
join staging.flex_parsed_fills e on e.account = c.account and e.kind = c.kind and e.id = c.id
where not c.is_carried
