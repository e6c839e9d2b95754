-- grain: one position of the latest snapshot, with a reason where it cannot be read
with taken as (
  select account, max(served_to) as taken_at
  from raw.coverage
  where venue = 'okx' and kind = 'position' and status = 'complete'
  group by account
)

select
  r.account,
  r.id as position_id,
  r.payload ->> 'instId' as instrument,
  coalesce(nullif(r.payload ->> 'posSide', ''), 'net') as position_side,
  r.payload ->> 'instType' as instrument_type,
  r.payload ->> 'pos' as qty,
  r.payload ->> 'avgPx' as avg_price,
  exact(r.payload ->> 'nonSettleAvgPx') as unsettled_price,
  r.payload ->> 'markPx' as mark_price,
  exact(r.payload ->> 'upl') as unrealised_amount,
  nullif(r.payload ->> 'ccy', '') as currency,
  t.taken_at,
  nullif(
    concat_ws(
      '; ',
      case when not is_okx_name(instrument) then 'instId is not an instrument' end,
      case when exact(r.payload ->> 'pos') is null then 'pos is not a quantity' end,
      case when position_side not in ('net', 'long', 'short') then 'posSide is not known' end,
      case when position_side <> 'net' and exact(r.payload ->> 'pos') < 0 then 'a long or short position below 0' end,
      case when is_unreadable(r.payload ->> 'avgPx') then 'avgPx is unreadable' end,
      case when is_unreadable(r.payload ->> 'markPx') then 'markPx is unreadable' end
    ),
    ''
  ) as reason
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
left join taken t on t.account = r.account
where r.venue = 'okx' and r.kind = 'position'
