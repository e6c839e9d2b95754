-- grain: one instrument that OKX lists; key: account, instrument
-- A contract's multiplier is ctVal · ctMult. Nineteen digits, nine of them after the point, for
-- each: the product is exact in decimal(38, 18), and whatever needs more has no multiplier.
-- `reason` says what keeps its fills from being valued.
with listed as (
  select
    r.account,
    r.payload ->> 'instId' as instrument,
    lower(r.payload ->> 'instType') as instrument_kind,
    exact(r.payload ->> 'ctVal') as ct_val,
    coalesce(exact(r.payload ->> 'ctMult'), 1) as ct_mult,
    r.payload ->> 'ctType' as contract_type,
    is_unreadable(r.payload ->> 'ctMult') as is_ct_mult_unreadable,
    nullif(r.payload ->> 'settleCcy', '') as settle_currency,
    nullif(r.payload ->> 'quoteCcy', '') as quote_currency,
    nullif(r.payload ->> 'baseCcy', '') as base_currency
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  where r.venue = 'okx' and r.kind = 'instrument'
)

select
  account,
  instrument,
  instrument_kind,
  case
    when instrument_kind in ('spot', 'margin') then 1
    when is_ct_mult_unreadable or instrument_kind <> 'option' and coalesce(contract_type, '') not in ('linear', 'inverse')
      then null
    when try_cast(ct_val as decimal(19, 9)) = ct_val and try_cast(ct_mult as decimal(19, 9)) = ct_mult
      then ct_val::decimal(19, 9) * ct_mult::decimal(19, 9)
  end::decimal(38, 18) as multiplier,
  coalesce(contract_type = 'inverse', false) as is_inverse,
  case when instrument_kind in ('spot', 'margin') then quote_currency else settle_currency end as currency,
  base_currency,
  case
    when coalesce(instrument_kind, '') not in ('spot', 'margin') then nullif(
      concat_ws(
        '; ',
        case when coalesce(instrument_kind, '') not in ('swap', 'futures', 'option') then 'instType is not known' end,
        case when coalesce(ct_val, 0) <= 0 then 'ctVal is not a contract value' end,
        case when is_ct_mult_unreadable then 'ctMult is unreadable' end,
        case
          when instrument_kind <> 'option' and coalesce(contract_type, '') not in ('linear', 'inverse')
            then 'ctType is neither linear nor inverse'
        end,
        case when not is_okx_name(settle_currency) then 'settleCcy is not a currency' end
      ),
      ''
    )
  end as reason
from listed
