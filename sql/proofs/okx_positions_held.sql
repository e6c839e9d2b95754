-- grain: one position that OKX says it closed, held against our evidence of it; key: account,
-- position_id. In its settlement currency. Its parts are OKX's `pnl + fee + fundingFee + liqPenalty
-- + settledPnl`; ours are the fills and the movements of cash from its first second to its last.
-- What lies within two seconds of another position of the same instrument belongs to either (one that
-- was held for less is not told apart from what came after it), and a
-- fill through zero to both, so that its fills do not end flat: there, `ours_amount` is null, and
-- only the parts are held to the sum. So it is in long/short mode, whose funding names no side.
-- replaces: exists (from affected.instruments t where t.account = k.account and t.instrument = k.instrument and k.closed_at >= t.from_at - interval 1 minute)
-- let: positions_from = select coalesce(min(c.opened_at), timestamp '9999-12-31') from evidence.closed_positions c join affected.instruments t on t.account = c.account and t.instrument = c.instrument and c.closed_at >= t.from_at - interval 1 minute
with neighbours as (
  select
    c.*,
    max(c.closed_at) over (sides rows between unbounded preceding and 1 preceding) as closed_before,
    min(c.opened_at) over (sides rows between 1 following and unbounded following) as opened_after
  from (from evidence.closed_positions where is_closed_whole) c
  semi join affected.instruments t on t.account = c.account and t.instrument = c.instrument
  window sides as (partition by c.account, c.instrument, c.position_side order by c.closed_at, c.opened_at, c.position_id)
),

closed as (
  select
    n.* exclude (closed_before, opened_after),
    n.opened_at - interval 1 second as from_at,
    n.closed_at + interval 1 second as to_at,
    coalesce(n.closed_before + interval 2 second < n.opened_at, true)
    and coalesce(n.closed_at + interval 2 second < n.opened_after, true)
    and n.closed_at - n.opened_at >= interval 2 second as is_alone
  from neighbours n
  join affected.instruments t
    on t.account = n.account and t.instrument = n.instrument
    and n.closed_at >= t.from_at - interval 1 minute
),

moved as (
  select f.account, f.instrument, f.position_side, f.at, f.qty,
    case when f.fee = 0 or f.fee_currency = f.currency then f.fee + f.broker_pnl end as amount
  from evidence.fills f
  where f.at >= getvariable('positions_from') - interval 1 second
  union all by name
  select l.account, l.instrument, s.position_side, l.at, 0 as qty, l.amount
  from evidence.ledger l
  join (select distinct account, instrument, position_side from closed) s
    on s.account = l.account and s.instrument = l.instrument
  where
    l.at >= getvariable('positions_from') - interval 1 second
    and l.kind in ('funding', 'penalty', 'settlement')
),

ours as (
  select c.account, c.position_id, sum(m.qty) as qty, whole_sum(m.amount) as amount,
    count(*) as movements
  from moved m
  asof join (from closed where is_alone) c
    on c.account = m.account and c.instrument = m.instrument
    and c.position_side = m.position_side and c.to_at >= m.at
  where m.at >= c.from_at
  group by c.account, c.position_id
)

select
  c.account,
  c.instrument,
  c.position_id,
  c.closed_at,
  c.realised_amount,
  c.parts_amount,
  case when c.is_alone and c.position_side = 'net' and o.qty = 0 then o.amount end as ours_amount,
  (0.00000001 * (coalesce(o.movements, 0) + 1))::decimal(38, 18) as rounding_amount
from closed c
left join ours o on o.account = c.account and o.position_id = c.position_id
