-- grain: one position that OKX says was closed, or partly closed, inside the window; key: account,
-- position_id (posId/uTime). A row that cannot be read is left out: it proves nothing, and its
-- coverage says that it came.
select
  r.account,
  'position-history' as source_kind,
  r.id as source_id,
  r.id as position_id,
  r.payload ->> 'instId' as instrument,
  exact(r.payload ->> 'closeTotalPos') as closed_qty,
  utc_ms(r.payload ->> 'cTime') as opened_at,
  utc_ms(r.payload ->> 'uTime') as closed_at
from raw.tonight r
join config.accounts a on a.venue = r.venue and a.account = r.account
where
  r.venue = 'okx'
  and r.kind = 'position-history'
  and utc_ms(r.payload ->> 'cTime') >= a.window_start
  and utc_ms(r.payload ->> 'uTime') is not null
  and exact(r.payload ->> 'closeTotalPos') > 0
