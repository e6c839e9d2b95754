-- grain: one account of which IBKR says what it was worth at both ends of the window; key: account, name
-- Change in equity = net + what is paid on open lots (`open_costs`) + change in unrealised + deposits −
-- withdrawals + change in accruals, which no cash has moved yet. Equity is the EquitySummary of the
-- session before the window and of its last one, else ChangeInNAV's starting and ending value. The
-- window begins flat, so that all of what is unrealised is its change. Open lots are marked by the
-- statement of the last session. `difference` is ours − IBKR's; a cent an open position is the bound,
-- as marks are rounded. Where money of another currency moved, its translation from day to day is part
-- of the equity and of no trade: such an account has no row, nor has one whose ends, rates or marks
-- are not known.
with ends as (
  select
    a.account,
    a.currency,
    arg_max(n.stated, n.to_date) filter (
      n.kind = 'equity' and n.to_date < a.first_date and n.to_date >= a.first_date - 7
    ) as opening_equity,
    max(n.stated) filter (n.kind = 'starting' and n.from_date = a.first_date) as starting,
    max(n.stated) filter (n.kind = 'equity' and n.to_date = a.last_date) as closing_equity,
    max(n.stated) filter (n.kind = 'ending' and n.to_date = a.last_date) as ending,
    arg_max(n.stated, n.to_date) filter (
      n.kind = 'accruals' and n.to_date < a.first_date and n.to_date >= a.first_date - 7
    ) as opening_accruals,
    max(n.stated) filter (n.kind = 'accruals' and n.to_date = a.last_date) as closing_accruals,
    -- A row that has no field of accruals at all says nothing of them.
    bool_and(c.source_id is not null) filter (n.kind = 'equity') as has_accruals,
    max(c.lacks) filter (n.kind = 'equity') as lacks
  from config.accounts a
  join evidence.nav n on n.account = a.account
  left join evidence.nav c
    on n.kind = 'equity' and c.kind = 'accruals' and c.account = n.account and c.source_id = n.source_id
  where a.venue = 'ibkr-flex'
  group by a.account, a.currency
),

known as (
  select
    account,
    currency,
    coalesce(opening_equity, starting) as opening,
    coalesce(closing_equity, ending) as closing,
    coalesce(closing_accruals, 0) - coalesce(opening_accruals, 0) as accrued,
    case
      when not has_accruals then 'Dividend Accruals, Interest Accruals'
      else lacks
    end as lacks
  from ends
  where opening is not null and closing is not null
),

foreign_money as (
  select d.account
  from proofs.cash_days d
  join config.accounts a on a.account = d.account
  where d.day between a.first_date and a.last_date and d.currency <> a.currency and d.amount <> 0
  union
  select t.account
  from evidence.traded t
  join config.accounts a on a.account = t.account
  where t.session_date between a.first_date and a.last_date and t.currency <> a.currency
),

transferred as (
  select d.account, whole_sum(d.amount) as amount
  from proofs.cash_days d
  join config.accounts a on a.account = d.account
  where d.kind = 'transfer' and d.day between a.first_date and a.last_date
  group by d.account
),

marked as (
  select
    o.account,
    count(*) as positions,
    whole_sum(
      case
        when o.rate = 1 then (
          case when o.qty > 0 then 1 else -1 end
          * (
            (try_cast(abs(o.qty) as decimal(19, 8)) * try_cast(p.mark_price as decimal(19, 8)))::decimal(28, 10)
            * try_cast(o.multiplier as decimal(10, 4)) - o.cost
          )
        )::decimal(38, 18)
      end
    ) as unrealised
  from pnl.open_lots o
  join config.accounts a on a.account = o.account
  left join staging.positions p
    on p.account = o.account and p.instrument = o.instrument
    and p.position_side = o.position_side and p.session_date = a.last_date
  where o.scope = 'account'
  group by o.account
),

reckoned as (
  select
    k.account,
    k.currency,
    k.closing - k.opening as stated,
    coalesce(m.positions, 0) as positions,
    k.lacks,
    case when t.account is null then 0 else t.net + t.open_costs end
    + case when m.account is null then 0 else m.unrealised end
    + case when r.account is null then 0 else r.amount end
    + k.accrued as ours
  from known k
  anti join foreign_money f on f.account = k.account
  left join pnl.total t on t.account = k.account and t.scope = 'account'
  left join marked m on m.account = k.account
  left join transferred r on r.account = k.account
)

select
  account,
  currency as name,
  case
    when is_closed then 'equity changed by ' || plain(ours) || ', as IBKR says'
    else 'equity changed by ' || plain(ours) || ' by net, unrealised and transfers, IBKR says '
      || plain(stated) || ': a fill, a cost or a transfer is missing, doubled or altered, or it was'
      || ' not flat when the window began'
      || coalesce('; or what changed stands in a field that is not ticked in the section Net Asset Value: ' || lacks, '')
  end as place,
  (ours - stated)::decimal(38, 18) as difference,
  is_closed
from (select *, abs(ours - stated) <= 0.01 * (1 + positions) as is_closed from reckoned)
where ours is not null
