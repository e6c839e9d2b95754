-- grain: one instrument whose fills do not add up to the statement; empty where the proof closes.
-- A position that the venue says was closed inside the window, and of which there is no fill at all,
-- does not add up either.
-- opening (what is configured, else nothing) + Σ fills = statement. Fills count up to the instant of
-- the snapshot; for a broker that states by trade date, through that date. Spot has no positions: its
-- coins are held against what is held of them, where nothing else proves them.
-- let: flows_from = select min(from_session) from proofs.snapshots
with flows as (
  select k.account, k.instrument, k.position_side, k.qty
  from lots.closing_books k
  join proofs.snapshots b on b.account = k.account
  where k.scope = 'account' and k.session_date < b.from_session and k.until_session >= b.from_session
  union all
  select f.account, f.instrument, f.position_side, f.qty
  from evidence.fills f
  join proofs.snapshots b on b.account = f.account
  where
    f.session_date >= getvariable('flows_from')
    and f.session_date >= b.from_session
    and f.session_date >= b.first_date
    and case when b.is_by_trade_date then f.session_date <= b.session_date else f.at < b.taken_at end
  union all
  select o.account, o.instrument, o.position_side, o.qty
  from config.opening o
  join proofs.snapshots b on b.account = o.account
  where not exists (
    from lots.closing_books k
    where
      k.account = o.account and k.instrument = o.instrument and k.scope = 'account'
      and k.session_date < b.from_session
  )
),

-- A split changes the quantity, another name takes all of it away and gives it to the new one.
renamed as (
  select e.account, unnest([e.instrument, e.to_instrument]) as instrument, unnest([e.qty, -e.qty]) as qty
  from evidence.lot_events e
  join proofs.snapshots b on b.account = e.account
  where
    e.session_date >= getvariable('flows_from')
    and e.session_date >= b.from_session
    and e.session_date >= b.first_date
    and e.session_date <= b.session_date
),

filled as (
  select account, instrument, position_side, sum(qty) as qty
  from (from flows union all by name select *, 'net' as position_side from renamed where instrument is not null)
  anti join (from evidence.instruments where instrument_kind in ('spot', 'margin')) using (account, instrument)
  group by account, instrument, position_side
)

select
  coalesce(f.account, p.account) as account,
  coalesce(f.instrument, p.instrument) as instrument,
  coalesce(f.position_side, p.position_side) as position_side,
  coalesce(f.qty, 0)::decimal(38, 18) as filled_qty,
  coalesce(p.qty, 0)::decimal(38, 18) as statement_qty,
  (coalesce(f.qty, 0) - coalesce(p.qty, 0))::decimal(38, 18) as difference
from filled f
full join (from staging.positions semi join proofs.snapshots using (account)) p
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
from proofs.unfilled c
semi join config.accounts a on a.account = c.account
group by c.account, c.instrument
union all by name
select account, coin as instrument, 'net' as position_side, filled_qty, statement_qty, difference
from proofs.coins
