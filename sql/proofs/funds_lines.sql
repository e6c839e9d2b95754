-- grain: what a statement of funds says of a day; key: account, statement_id, is_in_base, currency, day, kind
-- Sums by kind, in the words of staging/flex/cash.sql, and the balances between which they lie. A
-- day's `balance_before` and `balance_after` stand at every kind of it. Only what came tonight is
-- added up: a statement lists its lines, and a line never changes.
-- replaces: (k.account, k.statement_id) in (select account, id from raw.run_snapshots where kind = 'FlexStatement')
-- let: funds_from = select coalesce(min((payload ->> 'from_date')::date), date '9999-12-31') from raw.run_snapshots where kind = 'FlexStatement'
with listed as (
  select account, id as statement_id, unnest(ids) as source_id, generate_subscripts(ids, 1) as place
  from (
    -- As it stands: of an account made again from the beginning every version was said.
    select t.account, t.id, (t.payload -> 'funds')::varchar[] as ids
    from raw.staged_records t
    semi join raw.run_snapshots s on s.account = t.account and s.kind = t.kind and s.id = t.id
    where t.venue = 'ibkr-flex' and t.kind = 'FlexStatement' and (t.payload -> 'funds') is not null
  )
),

lines as (
  select
    l.account,
    l.statement_id,
    f.is_in_base,
    f.currency,
    f.day,
    l.place,
    f.kind,
    f.balance,
    case when f.kind = 'balance' then 0 else f.amount end as amount,
    f.commission,
    f.tax,
    f.code,
    f.balance - case when f.kind = 'balance' then 0 else f.amount end as balance_before
  from listed l
  join evidence.funds f on f.account = l.account and f.source_id = l.source_id
  where f.day >= getvariable('funds_from') - 40
),

chained as (
  select
    *,
    -- IBKR rounds at the ninth decimal.
    coalesce(
      abs(balance_before - lag(balance) over entries) > 0.00000001,
      balance is null or amount is null
    ) as is_broken
  from lines
  window entries as (partition by account, statement_id, is_in_base, currency order by place)
),

parts as (
  select account, statement_id, is_in_base, currency, day, part.kind, part.amount, code
  from (
    select
      *,
      unnest(
        case
          when kind in ('trade', 'settlement') then [
            {'kind': kind, 'amount': (amount - commission - tax)::decimal(38, 18)},
            {'kind': 'commission', 'amount': commission},
            {'kind': 'transaction tax', 'amount': tax}
          ]
          else [{'kind': kind, 'amount': amount::decimal(38, 18)}]
        end
      ) as part
    from chained
  )
  where part.amount is null or part.amount <> 0 or part.kind not in ('commission', 'transaction tax')
),

days as (
  select account, statement_id, is_in_base, currency, day,
    arg_min(balance_before, place) as balance_before,
    arg_max(balance, place) as balance_after,
    count(*) filter (is_broken) as breaks,
    min(case when is_broken then place end) as first_break
  from chained
  group by all
)

select
  p.account,
  p.statement_id,
  p.is_in_base,
  p.currency,
  p.day,
  p.kind,
  whole_sum(p.amount) as amount,
  count(*) as lines,
  min(case when p.kind = 'unknown' then p.code end) as code,
  any_value(d.balance_before) as balance_before,
  any_value(d.balance_after) as balance_after,
  any_value(d.breaks) as breaks,
  any_value(d.first_break) as first_break
from parts p
join days d using (account, statement_id, is_in_base, currency, day)
group by p.account, p.statement_id, p.is_in_base, p.currency, p.day, p.kind
