-- grain: one currency of an account, whose equity is held to what happened to it; key: account, name
-- equity = opening + net, in cash, + unrealised + deposits − withdrawals, in the currency itself.
-- The first end is the window's: it begins flat, so that its equity is the cash that the chain of
-- the ledger begins with. The last is the venue's latest statement. Fills and their cost are ours,
-- and so is what is held; the marks are the venue's. Between its two answers, of positions and of
-- balances, they have moved on: that much (`upl` of the one and of the other) is the venue's too.
-- A trade of which fill and entry lie on either side of the window's first instant moved the cash
-- inside it, or before it, and its fill was counted otherwise.
-- Of a coin that is borrowed OKX's documentation doesn't say whether the interest that has accrued and
-- isn't paid yet is taken from its equity already: it may be, or not.
-- What the fills hold and OKX does not state is a difference of positions: its currency is left out.
-- A currency in which something was held before the window is left out: what that was worth when it
-- began is not known.
-- let: equity_from = select min(from_session) from proofs.snapshots
-- let: opens_from = select min(window_start) from config.accounts
-- let: opens_to = select max(window_start) from config.accounts
with moved as (
  select f.account, f.instrument, f.currency, f.qty, f.amount, f.legs
  from proofs.okx_flows f
  join proofs.snapshots b on b.account = f.account
  where f.session_date between b.first_date and b.from_session - 1
  union all
  select l.account, l.instrument, l.currency, l.qty, l.amount, 1 as legs
  from proofs.okx_legs l
  join proofs.snapshots b on b.account = l.account
  where
    l.session_date >= getvariable('equity_from')
    and l.session_date >= b.from_session
    and l.session_date >= b.first_date
    and l.at < b.taken_at
),

held as (
  select account, instrument, sum(qty) as qty
  from moved
  where instrument is not null
  group by account, instrument
),

terms as (
  select distinct account, instrument, multiplier, is_inverse, currency
  from staging.okx_instruments
),

marked as (
  select
    account,
    instrument,
    case when count(*) = count(mark_price) then min(mark_price) end as mark_price,
    whole_sum(unrealised_amount) as unrealised_amount
  from staging.okx_positions
  group by account, instrument
),

worth as (
  select
    h.account,
    t.currency,
    whole_sum(
      case
        when t.is_inverse then -coin_value(at_rate(h.qty, t.multiplier), m.mark_price)
        else at_rate(at_rate(h.qty, t.multiplier), m.mark_price)
      end
    ) as amount,
    whole_sum(m.unrealised_amount) as unrealised_amount,
    min(
      case
        when m.mark_price is null then 'OKX states no markPx of its position in ' || h.instrument
        when m.unrealised_amount is null then 'OKX states no upl of its position in ' || h.instrument
      end
    ) as unknown,
    bool_and(m.account is not null) as is_stated
  from held h
  left join terms t on t.account = h.account and t.instrument = h.instrument
  left join marked m on m.account = h.account and m.instrument = h.instrument
  where h.qty <> 0 or m.account is not null  -- long and short of one contract may come to nothing
  group by h.account, t.currency
),

earned as (
  select account, currency, whole_sum(amount) as amount, sum(legs) as legs
  from moved
  group by account, currency
),

opened as (
  select c.account, c.currency, arg_min(c.balance_before, c.session_date) as amount
  from proofs.chain_sessions c
  join config.accounts a on a.account = c.account
  where c.session_date >= a.first_date
  group by c.account, c.currency
),

astride as (
  select l.account, l.currency,
    sum(case when l.at >= a.window_start then l.balance_change else -l.balance_change end) as amount
  from evidence.ledger l
  join config.accounts a
    on a.account = l.account
    and l.at between a.window_start - interval 1 minute and a.window_start + interval 1 minute
  semi join evidence.fills f
    on f.account = l.account and f.instrument = l.instrument and f.trade_id = l.trade_id
    and f.at between a.window_start - interval 1 minute and a.window_start + interval 1 minute
    and (f.at >= a.window_start) <> (l.at >= a.window_start)
  where
    l.kind = 'trade'
    and l.at between getvariable('opens_from') - interval 1 minute and getvariable('opens_to') + interval 1 minute
  group by l.account, l.currency
),

compared as (
  select
    b.account,
    b.currency as name,
    b.equity_amount as stated_amount,
    b.interest_amount,
    coalesce(
      w.unknown,
      case when w.account is not null and b.unrealised_amount is null then 'OKX states no upl of ' || b.currency end
    ) as unknown,
    coalesce(o.amount, b.amount)
    + coalesce(d.amount, 0)
    + coalesce(e.amount, 0)
    + case
      when w.account is null then 0
      else w.amount + b.unrealised_amount - w.unrealised_amount
    end as ours_amount,
    (0.00000001 + 0.0000000001 * coalesce(e.legs, 0)::decimal(20, 0))::decimal(38, 18) as rounding_amount
  from staging.okx_balances b
  join proofs.snapshots s on s.account = b.account
  left join opened o on o.account = b.account and o.currency = b.currency
  left join earned e on e.account = b.account and e.currency = b.currency
  left join worth w on w.account = b.account and w.currency = b.currency
  left join astride d on d.account = b.account and d.currency = b.currency
  where
    b.equity_amount is not null and is_okx_name(b.currency)
    and coalesce(w.is_stated, true)
    and not exists (
      from config.opening p
      join staging.okx_instruments t on t.account = p.account and t.instrument = p.instrument
      where p.account = b.account and t.currency = b.currency
    )
),

apart as (
  select
    *,
    case
      when abs(ours_amount - stated_amount) <= abs(ours_amount - interest_amount - stated_amount)
        then ours_amount - stated_amount
      else ours_amount - interest_amount - stated_amount
    end as difference
  from compared
)

select
  account,
  name,
  case
    when ours_amount is null
      then coalesce(unknown, 'the value of what is held in ' || name || ' has more digits than recon keeps')
      || ': the equity of ' || name || ' cannot be compared'
    when abs(difference) > rounding_amount
      then 'fills, fees, funding, transfers and marks since the window began do not add up to the equity of '
      || name || ' that OKX states: a fill or an entry is missing, doubled or altered, or a position is'
      || ' older than the window'
    else ''
  end as place,
  difference::decimal(38, 18) as difference,
  coalesce(abs(difference) <= rounding_amount, false) as is_closed
from apart
