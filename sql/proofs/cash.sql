-- grain: one place where an account's cash does not add up; empty where the proof closes.
-- Four sides of it: each entry's balance follows from the one before; the last one is the balance
-- that the venue states; every fill of a contract moved cash; and every trade that moved cash is a
-- fill that we have. Only venues that state balances after each entry are held to it.
with chained as (
  select
    account,
    currency,
    entry_id,
    balance_after,
    balance_after - balance_change
    - lag(balance_after) over (partition by account, currency order by seq) as difference,
    row_number() over (partition by account, currency order by seq desc) = 1 as is_last
  from staging.ledger
  where balance_after is not null
),

states_balances as (
  select distinct c.account
  from raw.coverage c
  join config.accounts a on a.venue = c.venue and a.account = c.account
  where c.kind = 'balance' and c.status = 'complete'
)

select account, currency, 'the chain is broken before entry ' || entry_id as place, difference
from chained
where difference <> 0
union all by name
select
  c.account,
  c.currency,
  'the last entry is not the balance that the venue states' as place,
  c.balance_after - coalesce(b.amount, 0) as difference
from chained c
semi join states_balances s on s.account = c.account
left join staging.balances b on b.account = c.account and b.currency = c.currency
where c.is_last and c.balance_after <> coalesce(b.amount, 0)
union all by name
select
  f.account,
  f.currency,
  'fill ' || f.fill_id || ' (' || f.instrument || ') moved no cash in the ledger' as place,
  f.fee + coalesce(f.broker_pnl, 0) as difference
from staging.fills f
semi join states_balances s on s.account = f.account
anti join staging.ledger l
  on l.account = f.account and l.instrument = f.instrument and l.trade_id = f.trade_id
where f.instrument_kind not in ('spot', 'margin')
union all by name
select
  l.account,
  l.currency,
  'ledger entry ' || l.entry_id || ' (' || l.instrument || ') has no fill' as place,
  l.balance_change as difference
from staging.ledger l
semi join states_balances s on s.account = l.account
anti join staging.fills f
  on f.account = l.account and f.instrument = l.instrument and f.trade_id = l.trade_id
where l.kind = 'trade' and l.instrument is not null
