-- grain: where a session's entries of one currency begin and end; key: account, currency, session_date
-- Only of venues that state the balance after each entry.
-- replaces: (k.account, k.currency, k.session_date) in (from affected.chains)
select
  l.account,
  l.currency,
  l.session_date,
  min(l.seq) as first_seq,
  arg_min(l.balance_after - l.balance_change, l.seq) as balance_before,
  arg_min(l.entry_id, l.seq) as first_entry,
  max(l.seq) as last_seq,
  arg_max(l.balance_after, l.seq) as balance_after
from evidence.ledger l
semi join affected.chains t
  on t.account = l.account and t.currency = l.currency and t.session_date = l.session_date
where l.balance_after is not null
group by l.account, l.currency, l.session_date
