-- grain: one instrument that OKX lists; key: account, instrument
-- A contract's multiplier is ctVal · ctMult. Nineteen digits, nine of them after the point, for
-- each: the product is exact in decimal(38, 18), and whatever needs more has no multiplier.
with listed as (
  select
    r.account,
    r.payload ->> 'instId' as instrument,
    lower(r.payload ->> 'instType') as instrument_kind,
    exact(r.payload ->> 'ctVal') as ct_val,
    coalesce(exact(r.payload ->> 'ctMult'), 1) as ct_mult,
    r.payload ->> 'ctType' = 'inverse' as is_inverse,
    nullif(r.payload ->> 'settleCcy', '') as settle_currency,
    nullif(r.payload ->> 'quoteCcy', '') as quote_currency,
    nullif(r.payload ->> 'baseCcy', '') as base_currency
  from raw.tonight r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  where r.venue = 'okx' and r.kind = 'instrument'
)

select
  account,
  instrument,
  instrument_kind,
  case
    when instrument_kind in ('spot', 'margin') then 1
    when try_cast(ct_val as decimal(19, 9)) = ct_val and try_cast(ct_mult as decimal(19, 9)) = ct_mult
      then ct_val::decimal(19, 9) * ct_mult::decimal(19, 9)
  end::decimal(38, 18) as multiplier,
  is_inverse,
  coalesce(settle_currency, quote_currency) as currency,
  base_currency
from listed
