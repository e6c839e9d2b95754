-- grain: one position that OKX says was closed, or partly closed, inside the window, with a reason where
-- it cannot be read; key: account, position_id (posId/uTime)
-- A MARGIN position is not one of a contract (okx_findings). What OKX leaves blank of `liqPenalty` and
-- `settledPnl` is no part of its sum: most positions have neither.
select
  r.account,
  r.id as position_id,
  r.payload ->> 'instId' as instrument,
  coalesce(nullif(r.payload ->> 'posSide', ''), 'net') as position_side,
  exact(r.payload ->> 'closeTotalPos') as closed_qty,
  utc_ms(r.payload ->> 'cTime') as opened_at,
  utc_ms(r.payload ->> 'uTime') as closed_at,
  r.payload ->> 'type' in ('2', '3', '6') as is_closed_whole,
  exact(r.payload ->> 'realizedPnl') as realised_amount,
  exact(r.payload ->> 'pnl')
  + exact(r.payload ->> 'fee')
  + exact(r.payload ->> 'fundingFee')
  + coalesce(exact(r.payload ->> 'liqPenalty'), 0)
  + coalesce(exact(r.payload ->> 'settledPnl'), 0) as parts_amount,
  nullif(
    concat_ws(
      '; ',
      case when not is_okx_name(instrument) then 'instId is not an instrument' end,
      case when position_side not in ('net', 'long', 'short') then 'posSide is not known' end,
      case when opened_at is null then 'cTime is not a time' end,
      case when closed_qty is null then 'closeTotalPos is not a quantity' end,
      case when realised_amount is null then 'realizedPnl is not an amount' end,
      case when exact(r.payload ->> 'pnl') is null then 'pnl is not an amount' end,
      case when exact(r.payload ->> 'fee') is null then 'fee is not an amount' end,
      case when exact(r.payload ->> 'fundingFee') is null then 'fundingFee is not an amount' end,
      case when is_unreadable(r.payload ->> 'liqPenalty') then 'liqPenalty is unreadable' end,
      case when is_unreadable(r.payload ->> 'settledPnl') then 'settledPnl is unreadable' end
    ),
    ''
  ) as reason
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
where
  r.venue = 'okx'
  and r.kind = 'position-history'
  and r.payload ->> 'instType' is distinct from 'MARGIN'
  and closed_at >= a.window_start
  and coalesce(opened_at >= a.window_start, true)
