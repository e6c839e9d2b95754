-- grain: one closed trade of a bot's books as it was, before it was changed or deleted; key: all columns
-- What another mapping, or another release, reads of the books is no change of theirs.
-- replaces: false
select k.* exclude (recipe)
from bot_trades.current k
join bot_database.readable r on r.bot = k.bot and r.recipe = k.recipe
semi join bot_database.renewed n on n.bot = k.bot and n.closed_at = k.closed_at
where not exists (
  from bot_database.trades t
  where
    t.bot = k.bot and t.trade_id = k.trade_id and t.instrument = k.instrument
    and t.closed_at = k.closed_at and t.pnl = k.pnl and t.side is not distinct from k.side
    and t.qty is not distinct from k.qty
    and t.entry_price is not distinct from k.entry_price
    and t.exit_price is not distinct from k.exit_price
)
