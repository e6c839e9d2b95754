-- grain: one movement of cash of a statement that its TWS account cannot know of; key: account, entry_id
-- TWS states no interest, no dividend, no fee of its own: where there was any, its figures lack it.
select t.account, l.entry_id, l.kind, l.amount, l.currency, l.session_date
from evidence.ledger l
join config.tws t on t.confirmed_by = l.account
join config.accounts a on a.account = t.account
where
  l.kind in (from config.lot_kinds)
  and l.amount <> 0
  and l.session_date between a.first_date and a.last_date
