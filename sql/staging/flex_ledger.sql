-- grain: one cash movement at IBKR that is no trade's own; key: account, entry_id
-- Cash transactions, the commission of currency conversions, and what remains of the fees where a
-- trade was cancelled. A fill's own commission is in its fill.
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
  -- fxRateToBase is the trade currency's; the commission's own is known where they are the same.
  case
    when fee_currency = account_currency then 1::decimal(38, 18)
    when fee_currency = currency then rate
  end as rate,
  null::decimal(38, 18) as balance_after,
  trade_id
from staging.flex_parsed_fills e
where verdict = 'conversion' and fee <> 0
union all by name
select
  account,
  -- The trade's own, and not its cancel's: one may be a confirmation, and the other not.
  min(pair_kind) as source_kind,
  pair_id as source_id,
  'cancelled/' || pair_id || '/' || fee_currency as entry_id,
  min(pair_at) as at,
  min(seq) as seq,
  min(pair_session_date) as session_date,
  'fee' as kind,
  fee_currency as currency,
  sum(fee)::decimal(38, 18) as amount,
  min(instrument) as instrument,
  min(case
    when fee_currency = account_currency then 1::decimal(38, 18)
    when fee_currency = currency then rate
  end) as rate,
  null::decimal(38, 18) as balance_after,
  min(trade_id) as trade_id
from staging.flex_parsed_fills e
where verdict = 'cancelled'
group by account, pair_kind, pair_id, fee_currency
having sum(fee) <> 0
