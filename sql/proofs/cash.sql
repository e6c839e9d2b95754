-- grain: one place where an account's cash does not add up; empty where the proof closes.
-- Each entry's balance follows from the one before; the last one is the balance that the venue
-- states; and what the fills say of money is what the ledger moved, trade by trade. Only venues that
-- state a balance after each entry are held to it. What stood there before the first entry of all
-- is taken as stated: nothing that the venue still serves is older.
with chained as (
  select
    l.account,
    l.currency,
    l.entry_id,
    l.at,
    l.balance_change,
    l.balance_after,
    lag(l.balance_after) over entries as balance_before,
    max(l.at) over (entries rows between unbounded preceding and 1 preceding) as newest_before_at,
    row_number() over (partition by l.account, l.currency order by l.seq desc) = 1 as is_last
  from staging.ledger l
  where l.balance_after is not null
  window entries as (partition by l.account, l.currency order by l.seq)
),

states_balances as (
  select distinct c.account
  from raw.coverage c
  join config.accounts a on a.venue = c.venue and a.account = c.account
  where c.kind = 'balance' and c.status = 'complete'
)

select
  account,
  currency,
  'the chain is broken before entry ' || entry_id as place,
  balance_after - balance_change - balance_before as difference
from chained
where balance_after - balance_change <> balance_before
union all by name
select
  c.account,
  c.currency,
  'entry ' || c.entry_id || ' came after the window began, and is dated before it' as place,
  c.balance_change as difference
from chained c
join config.accounts a on a.account = c.account
where c.at < a.window_start - interval 1 minute and c.newest_before_at >= a.window_start
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
select t.account, t.currency, t.place, t.difference
from proofs.trades t
semi join states_balances s on s.account = t.account
