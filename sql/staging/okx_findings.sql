-- grain: one thing at OKX that is understood and not yet valued; key: account, instrument, reason
select distinct
  l.account,
  l.instrument,
  'the ledger shows ' || l.instrument_type || ' trades: add "' || l.instrument_type
  || '" to instrument_types' as reason
from staging.okx_parsed_ledger l
anti join config.instrument_types t
  on t.account = l.account and t.instrument_type = l.instrument_type
where l.kind in ('trade', 'penalty') and l.instrument_type is not null
union all by name
select distinct
  account,
  instrument,
  'the ledger shows a ' || kind || ' (type ' || bill_type || '), which is not valued yet' as reason
from staging.okx_parsed_ledger
where kind in ('settlement', 'conversion')
union all by name
select distinct account, instrument, 'a MARGIN position is not proven yet' as reason
from staging.okx_parsed_positions
where instrument_type = 'MARGIN'
