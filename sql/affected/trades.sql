-- grain: one trade of which a fill or an entry changed; key: account, instrument, trade_id
select account, instrument, coalesce(trade_id, '') as trade_id, min("at") as first_at, max("at") as last_at
from (
  select account, instrument, trade_id, "at" from changed.fills
  union all
  select account, instrument, trade_id, "at" from changed.ledger where kind in ('trade', 'penalty', 'unknown')
)
group by all
