-- grain: one order as OKX gave it; key: account, order_id
-- Only who placed it is read: what it did, its fills say. An order that a stop or another algo order
-- placed has no clOrdId, or one of the venue's: its algoClOrdId is what the bot wrote. Both are null where
-- OKX gives no text: unknown, which is not the same as empty.
select
  r.account,
  'order' as source_kind,
  r.id as source_id,
  r.id as order_id,
  r.payload ->> 'instId' as instrument,
  utc_ms(r.payload ->> 'cTime') as placed_at,
  case when json_type(r.payload -> 'clOrdId') = 'VARCHAR' then r.payload ->> 'clOrdId' end as client_order_id,
  case when json_type(r.payload -> 'algoClOrdId') = 'VARCHAR' then r.payload ->> 'algoClOrdId' end as algo_client_order_id,
  r.payload ->> 'algoId' as algo_id,
  r.payload ->> 'tag' as tag,
  r.payload ->> 'source' as source,
  r.payload ->> 'category' as category,
  r.payload ->> 'state' as state
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.venue = 'okx' and r.kind = 'order'
