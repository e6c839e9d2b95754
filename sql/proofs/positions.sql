-- grain: one instrument whose fills do not add up to the statement; empty where the proof closes.
-- A position that the venue says was closed inside the window, and of which there is no fill at all,
-- does not add up either.
-- opening (nothing: the window begins flat) + Σ fills = statement. Fills count up to the instant of
-- the snapshot; for a broker that states by trade date, through that date. Spot has no positions.
with snapshot as (
  select c.account, max(c.served_to) as taken_at
  from raw.coverage c
  join config.accounts a on a.venue = c.venue and a.account = c.account
  where c.evidence = 'positions' and c.kind in ('position', 'OpenPosition') and c.status = 'complete'
  group by c.account
),

bounded as (
  select t.account, t.taken_at, a.first_date, s.session_date, a.is_by_trade_date
  from snapshot t
  join config.accounts a on a.account = t.account
  left join config.sessions s
    on s.account = t.account and s.start_at < t.taken_at and t.taken_at <= s.end_at
),

filled as (
  select f.account, f.instrument, f.position_side, sum(f.qty) as qty
  from staging.fills f
  join bounded b on b.account = f.account
  where
    f.instrument_kind not in ('spot', 'margin')
    and f.session_date >= b.first_date
    and case when b.is_by_trade_date then f.session_date <= b.session_date else f.at < b.taken_at end
  group by f.account, f.instrument, f.position_side
)

select
  coalesce(f.account, p.account) as account,
  coalesce(f.instrument, p.instrument) as instrument,
  coalesce(f.position_side, p.position_side) as position_side,
  coalesce(f.qty, 0)::decimal(38, 18) as filled_qty,
  coalesce(p.qty, 0)::decimal(38, 18) as statement_qty,
  (coalesce(f.qty, 0) - coalesce(p.qty, 0))::decimal(38, 18) as difference
from filled f
full join (from staging.positions semi join bounded using (account)) p
  on p.account = f.account and p.instrument = f.instrument and p.position_side = f.position_side
where coalesce(f.qty, 0) <> coalesce(p.qty, 0)
union all by name
select
  c.account,
  c.instrument,
  'net' as position_side,
  0::decimal(38, 18) as filled_qty,
  0::decimal(38, 18) as statement_qty,
  sum(c.closed_qty) as difference
from staging.okx_closed_positions c
anti join staging.fills f on f.account = c.account and f.instrument = c.instrument
  and f.at <= c.closed_at + interval 1 minute and f.at >= c.opened_at - interval 1 minute
group by c.account, c.instrument
