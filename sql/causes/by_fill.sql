-- grain: one bot whose books have a row for each fill, and not for each closed trade; key: bot
-- A row that only opened a position closed nothing: its qty is 0. No row says when, and at what price, the
-- position was opened that it closed. Where costs are booked as they are paid, that alone tells it.
select b.bot
from causes.bot_trades b
join breaks.differing d on d.bot = b.bot
group by b.bot
having
  bool_and(b.qty is not null and b.entry_price is null and coalesce(b.opened_at = b.closed_at, true))
  and (bool_or(b.qty = 0) or bool_and(d.is_by_payment))
