-- grain: one place where an account's cash does not add up; empty where the proof closes.
-- `instrument` is that of a trade, and null in the chain of balances.
-- Each entry's balance follows from the one before; the last one is the balance that the venue
-- states; and what the fills say of money is what the ledger moved, trade by trade. Only venues that
-- state a balance after each entry are held to it. What stood there before the first entry of all
-- is taken as stated: nothing that the venue still serves is older.
with linked as (
  select
    *,
    lag(last_seq) over sessions as last_seq_before,
    lag(balance_after) over sessions as balance_left,
    row_number() over (partition by account, currency order by last_seq desc) = 1 as is_last
  from proofs.chain_sessions
  semi join config.accounts using (account)
  window sessions as (partition by account, currency order by session_date)
),

-- Sessions are chained one after the other, as long as their entries are numbered in that order.
disordered as (
  select distinct account, currency
  from linked
  where first_seq < last_seq_before
),

chained as (
  select
    l.account,
    l.currency,
    l.entry_id,
    l.at,
    l.balance_change,
    l.balance_after,
    lag(l.balance_after) over entries as balance_before,
    max(l.at) over (entries rows between unbounded preceding and 1 preceding) as newest_before_at
  from evidence.ledger l
  semi join disordered d on d.account = l.account and d.currency = l.currency
  where l.balance_after is not null
  window entries as (partition by l.account, l.currency order by l.seq)
),

broken as (
  select b.account, b.currency, b.entry_id, b.difference
  from proofs.chain_breaks b
  semi join config.accounts a on a.account = b.account
  anti join disordered d on d.account = b.account and d.currency = b.currency
  union all
  select l.account, l.currency, l.first_entry, l.balance_before - l.balance_left
  from linked l
  anti join disordered d on d.account = l.account and d.currency = l.currency
  where l.balance_before <> l.balance_left
  union all
  select account, currency, entry_id, balance_after - balance_change - balance_before
  from chained
  where balance_after - balance_change <> balance_before
),

states_balances as (
  select distinct c.account
  from raw.coverage c
  join config.accounts a on a.venue = c.venue and a.account = c.account
  where c.kind = 'balance' and c.status = 'complete'
)

select account, currency, null as instrument, 'the chain is broken before entry ' || entry_id as place, difference
from broken
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
  l.account,
  l.currency,
  'the last entry is not the balance that the venue states' as place,
  l.balance_after - coalesce(b.amount, 0) as difference
from linked l
semi join states_balances s on s.account = l.account
left join staging.balances b on b.account = l.account and b.currency = l.currency
where l.is_last and l.balance_after <> coalesce(b.amount, 0)
union all by name
select t.account, t.currency, t.instrument, t.place, t.difference
from proofs.trades t
semi join states_balances s on s.account = t.account
