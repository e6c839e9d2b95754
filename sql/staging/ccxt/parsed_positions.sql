-- grain: one position of the latest snapshot, with a reason where it cannot be read
with taken as (
  select c.account, max(c.served_to) as taken_at
  from raw.coverage c
  join config.exchanges x on x.account = c.account and x.exchange = c.venue
  where c.kind = 'position' and c.status = 'complete'
  group by c.account
)

select
  r.account,
  r.id as position_id,
  r.payload ->> 'symbol' as instrument,
  case lower(r.payload -> 'info' ->> 'positionSide') when 'long' then 'long' when 'short' then 'short' else
    -- Where the two sides are held apart, they are not one position.
    case when r.payload ->> 'hedged' = 'true' then r.payload ->> 'side' else 'net' end
  end as position_side,
  case when r.payload ->> 'side' = 'short' then -exact(r.payload ->> 'contracts') else exact(r.payload ->> 'contracts') end
    as qty,
  exact(r.payload ->> 'entryPrice') as avg_price,
  exact(r.payload ->> 'markPrice') as mark_price,
  i.currency,
  t.taken_at,
  nullif(
    concat_ws(
      '; ',
      case when coalesce(exact(r.payload ->> 'contracts'), -1) < 0 then 'contracts is not a quantity' end,
      case
        when exact(r.payload ->> 'contracts') <> 0
          and coalesce(r.payload ->> 'side', '') not in ('long', 'short')
          then 'side is neither long nor short'
      end
    ),
    ''
  ) as reason
from raw.staged_records r
join config.exchanges x on x.account = r.account and x.exchange = r.venue
left join taken t on t.account = r.account
left join staging.ccxt_instruments i
  on i.account = r.account and i.instrument = r.payload ->> 'symbol'
where r.kind = 'position'
