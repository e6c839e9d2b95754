-- grain: one fill of the accounts of these bots, and the order it is of; key: account, instrument, event_id
-- Whosever it is: a bot's books may have another's order. A fill without an order is one of its own.
select
  e.account, e.instrument, e.event_id, e."at", e.bot, e.qty, e.price, e.multiplier, e.trade_id,
  coalesce(e.order_id, e.event_id) as order_id,
  nullif(e.order_tag, '') as order_tag
from evidence.events e
semi join breaks.differing b on b.account = e.account
join config.accounts a on a.account = e.account
where e.kind = 'fill' and e.session_date >= a.first_date
