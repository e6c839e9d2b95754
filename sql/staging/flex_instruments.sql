-- grain: one instrument that the account traded or holds; key: account, instrument
-- The newest row that knows it decides; one symbol for two instruments is a finding.
with seen as (
  select account, instrument, category, multiplier, currency, f.at as seen_at
  from staging.flex_parsed_fills f
  where verdict in ('fill', 'cancelled')
  union all
  select account, instrument, category, multiplier, currency, taken_at
  from staging.flex_parsed_positions
  where reason is null
)

select
  account,
  instrument,
  lower(category) as instrument_kind,
  multiplier,
  false as is_inverse,
  currency,
  null::varchar as base_currency
from seen
qualify row_number() over (
  partition by account, instrument order by multiplier is null, seen_at desc, category, currency
) = 1
