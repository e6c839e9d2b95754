-- grain: one option that was exercised or expired, as the fill that closes it; key: account, fill_id
-- OKX tells it by an entry of the ledger alone. Its price is what it paid, a coin; a long was exercised
-- (170), a short was (171); one that expires worthless (172) has cost a long what it had paid. What
-- cannot be told so is no fill, and a finding.
with sided as (
  select
    l.*,
    i.multiplier,
    case
      when l.sub_type = '170' or l.sub_type = '172' and l.pnl < 0 then -l.size
      when l.sub_type = '171' or l.sub_type = '172' and l.pnl > 0 then l.size
    end as qty,
    abs(l.balance_change - coalesce(l.fee, 0)) as value
  from staging.okx_parsed_ledger l
  join staging.okx_instruments i on i.account = l.account and i.instrument = l.instrument
  where l.kind = 'exercise' and l.reason is null and l.size > 0
),

priced as (
  select
    *,
    try(
      try_cast(value * 1000000000000000000 as hugeint) * 10000
      // try_cast(at_rate(size, multiplier) * 100000000 as hugeint)
    ) as price_units
  from sided
)

select
  account,
  'bill' as source_kind,
  entry_id as source_id,
  entry_id as fill_id,
  "at",
  seq,
  "at"::date as session_date,
  instrument,
  'option' as instrument_kind,
  'net' as position_side,
  qty,
  (try_cast(price_units as decimal(24, 0)) * 0.00000000000001)::decimal(38, 18) as price,
  multiplier,
  false as is_inverse,
  currency,
  coalesce(fee, 0) as fee,
  currency as fee_currency,
  rate,
  case when currency = account_currency then 1 end::decimal(38, 18) as fee_rate,
  case when rate is null then null when currency = account_currency then 'exact' else 'estimated' end as valuation,
  pnl as broker_pnl,
  true as is_system
from priced
where qty is not null and price_units is not null
