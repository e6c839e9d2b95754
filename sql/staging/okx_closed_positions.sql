-- grain: one position that OKX says was closed, or partly closed, inside the window; key: account,
-- position_id (posId/uTime). A row that cannot be read is left out: it proves nothing, and its
-- coverage says that it came; nor is a MARGIN position one of a contract (okx_findings). What OKX leaves blank is no part of its sum (`settledPnl` of anything
-- but futures); what is there and cannot be read leaves the whole sum unknown.
select
  r.account,
  'position-history' as source_kind,
  r.id as source_id,
  r.id as position_id,
  r.payload ->> 'instId' as instrument,
  coalesce(nullif(r.payload ->> 'posSide', ''), 'net') as position_side,
  exact(r.payload ->> 'closeTotalPos') as closed_qty,
  utc_ms(r.payload ->> 'cTime') as opened_at,
  utc_ms(r.payload ->> 'uTime') as closed_at,
  r.payload ->> 'type' in ('2', '3', '6') as is_closed_whole,
  exact(r.payload ->> 'realizedPnl') as realised_amount,
  case
    when not is_unreadable(r.payload ->> 'settledPnl') and not is_unreadable(r.payload ->> 'liqPenalty')
      then exact(r.payload ->> 'pnl')
      + exact(r.payload ->> 'fee')
      + exact(r.payload ->> 'fundingFee')
      + coalesce(exact(r.payload ->> 'liqPenalty'), 0)
      + coalesce(exact(r.payload ->> 'settledPnl'), 0)
  end as parts_amount
from raw.tonight r
join config.accounts a on a.venue = r.venue and a.account = r.account
where
  r.venue = 'okx'
  and r.kind = 'position-history'
  and r.payload ->> 'instType' is distinct from 'MARGIN'
  and utc_ms(r.payload ->> 'cTime') >= a.window_start
  and utc_ms(r.payload ->> 'uTime') is not null
  and exact(r.payload ->> 'closeTotalPos') > 0
