-- grain: one row of a trade that was corrected: explained together or not at all; key: account, source_kind, source_id
-- replaces: (k.account, k.source_kind, k.source_id) in (select account, kind, id from raw.revised)
with keyed as (
  select account, kind, id, is_cancel, instrument,
    unnest([
      'trade ' || case when is_cancel then cancelled_trade_id else trade_id end,
      'order ' || order_id,
      'trade ' || pair_trade_id,
      'order ' || pair_order_id
    ]) as explains
  from staging.flex_parsed_fills
  where verdict <> 'restated'
)

select distinct account, kind as source_kind, id as source_id, instrument, explains
from keyed k
where explains is not null and exists (
  from keyed c
  where c.account = k.account and c.instrument = k.instrument and c.explains = k.explains and c.is_cancel
)
