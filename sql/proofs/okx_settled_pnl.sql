-- grain: one future that was settled inside the window, its PnL by our lots and by OKX; key: account,
-- instrument. In its settlement currency.
-- A settlement pays what a position has gained and sets its average price anew (`avgPx`): what OKX
-- then books at a close is the rest. Ours is by what was first paid (`nonSettleAvgPx`): gross = Σ
-- fillPnl + Σ settlements − what they have paid on what is still open. Of a position that has moved
-- since the window ended nothing is said until it is flat or rests: `paid_ahead` is null.
-- let: last_dates_from = select min(last_date) from config.accounts
with settled as (
  select s.account, s.instrument, sum(s.amount) as amount, any_value(a.last_date) as last_date
  from proofs.okx_settled s
  join config.accounts a on a.account = s.account and a.lots = 'average'
  where s.session_date between a.first_date and a.last_date
  group by s.account, s.instrument
),

flows as (
  select f.account, f.instrument, sum(f.value_amount) as amount
  from proofs.okx_flows f
  join settled s on s.account = f.account and s.instrument = f.instrument
  join config.accounts a on a.account = f.account
  where f.session_date between a.first_date and a.last_date
  group by f.account, f.instrument
),

stated as (
  select r.account, r.instrument, whole_sum(r.stated_in_settlement) as amount, count(*) as sessions
  from proofs.okx_realised r
  join settled s on s.account = r.account and s.instrument = r.instrument
  join config.accounts a on a.account = r.account
  where r.session_date between a.first_date and a.last_date
  group by r.account, r.instrument
),

held as (
  select
    b.account,
    b.instrument,
    sum(b.qty) as qty,
    any_value(b.multiplier) as multiplier,
    any_value(b.is_inverse) as is_inverse,
    sum(case when (b.qty > 0) <> b.is_inverse then b.cost else -b.cost end) as cost
  from lots.closing_books b
  join settled s on s.account = b.account and s.instrument = b.instrument
  where
    b.scope = 'account' and b.session_date <= s.last_date and b.until_session > s.last_date
    and b.until_session > getvariable('last_dates_from')
  group by b.account, b.instrument
),

moved_since as (
  select f.account, f.instrument
  from evidence.fills f
  join settled s on s.account = f.account and s.instrument = f.instrument
  where f.session_date > getvariable('last_dates_from') and f.session_date > s.last_date
  union
  select l.account, l.instrument
  from proofs.okx_settled l
  join settled s on s.account = l.account and s.instrument = l.instrument
  where l.session_date > s.last_date
),

resting as (
  select
    h.account,
    h.instrument,
    at_rate(h.qty, h.multiplier) as face,
    case
      when h.is_inverse then coin_value(at_rate(h.qty, h.multiplier), p.unsettled_price)
        - coin_value(at_rate(h.qty, h.multiplier), p.avg_price)
      else at_rate(at_rate(h.qty, h.multiplier), p.avg_price - p.unsettled_price)
    end as amount
  from held h
  join staging.okx_positions p
    on p.account = h.account and p.instrument = h.instrument and p.qty = h.qty
  anti join moved_since m on m.account = h.account and m.instrument = h.instrument
)

select
  s.account,
  s.instrument,
  coalesce(f.amount, 0) + coalesce(h.cost, 0) as realised_amount,
  t.amount + s.amount as stated_amount,
  case when coalesce(h.qty, 0) = 0 then 0 else r.amount end as paid_ahead,
  (0.00000001 * (coalesce(t.sessions, 0) + 1) + 0.00000001 * abs(coalesce(r.face, 0)))::decimal(38, 18)
    as rounding_amount
from settled s
left join flows f on f.account = s.account and f.instrument = s.instrument
left join stated t on t.account = s.account and t.instrument = s.instrument
left join held h on h.account = s.account and h.instrument = s.instrument
left join resting r on r.account = s.account and r.instrument = s.instrument
