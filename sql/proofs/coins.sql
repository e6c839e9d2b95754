-- grain: one coin whose fills do not add up to what is held of it; empty where the proof closes
-- Of an exchange whose cash ledger is not read, spot has no other evidence: a coin is proven as a
-- position is. opening (nothing: the window begins flat) + Σ fills − fees in the coin = held. A coin
-- that was paid in or out, or held before, does not add up; one that was never traded is not asked for.
-- let: coins_from = select min(from_session) from proofs.snapshots
with flows as (
  select k.account, k.instrument, k.qty
  from lots.closing_books k
  join proofs.snapshots b on b.account = k.account
  where k.scope = 'account' and k.session_date < b.from_session and k.until_session >= b.from_session
  union all
  select
    f.account,
    f.instrument,
    f.qty + case when f.fee_currency = f.base_currency then f.fee else 0 end
  from evidence.fills f
  join proofs.snapshots b on b.account = f.account
  where
    f.session_date >= getvariable('coins_from')
    and f.session_date >= b.from_session
    and f.session_date >= b.first_date
    and f.at < b.taken_at
),

filled as (
  select f.account, i.base_currency as coin, sum(f.qty)::decimal(38, 18) as qty
  from flows f
  join staging.ccxt_instruments i on i.account = f.account and i.instrument = f.instrument
  where i.base_currency is not null
  group by f.account, i.base_currency
)

select
  f.account,
  f.coin,
  f.qty as filled_qty,
  coalesce(b.amount, 0)::decimal(38, 18) as statement_qty,
  (f.qty - coalesce(b.amount, 0))::decimal(38, 18) as difference
from filled f
left join staging.balances b on b.account = f.account and b.currency = f.coin
where f.qty <> coalesce(b.amount, 0)
