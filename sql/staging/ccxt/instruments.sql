-- grain: one instrument at an exchange of ccxt's that was traded, held or named; key: account, instrument
-- bybit counts inverse contracts in dollars: ccxt takes the smallest order for their size.
select
  r.account,
  r.id as instrument,
  r.payload ->> 'type' as instrument_kind,
  r.payload ->> 'contract' = 'true' as is_contract,
  case
    when r.payload ->> 'contract' = 'false' then 1::decimal(38, 18)
    when x.exchange = 'bybit' then 1::decimal(38, 18)
    else exact(r.payload ->> 'contractSize')
  end as multiplier,
  coalesce(r.payload ->> 'linear' = 'true', false) as is_linear,
  coalesce(r.payload ->> 'inverse' = 'true', false) as is_inverse,
  case when r.payload ->> 'contract' = 'true' then r.payload ->> 'settle' else r.payload ->> 'quote' end
    as currency,
  case when r.payload ->> 'contract' = 'false' then r.payload ->> 'base' end as base_currency
from raw.staged_records r
join config.exchanges x on x.account = r.account and x.exchange = r.venue
where r.kind = 'instrument'
