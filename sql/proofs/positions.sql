-- grain: one instrument whose fills do not add up to the statement; empty where the proof closes.
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
