-- grain: one trade at an exchange of ccxt's that is understood and not yet valued, and why; key: all columns
select
  account,
  'trade' as source_kind,
  fill_id as source_id,
  instrument,
  case when is_on_margin then 'MARGIN trades' else instrument_kind || 's' end
  || ' are not valued yet' as reason
from staging.ccxt_parsed_fills
where reason is null and (is_on_margin or instrument_kind not in ('spot', 'swap', 'future'))
