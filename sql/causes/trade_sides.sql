-- grain: one side of a trade whose orders the books do not name; key: bot, trade_id, is_exit
-- `bucket` is its quarter of an hour. A row that is a fill has no sides.
select
  t.bot, t.account, t.trade_id, t.instrument, v.is_exit,
  case when (t.side = 'long') <> v.is_exit then 'buy' else 'sell' end as side,
  t.qty,
  case when v.is_exit then t.closed_at else t.opened_at end as "at",
  case when v.is_exit then t.exit_price else t.entry_price end as price,
  epoch(case when v.is_exit then t.closed_at else t.opened_at end)::bigint // 900 as bucket
from causes.bot_trades t
anti join causes.id_matches n on n.bot = t.bot and n.trade_id = t.trade_id
anti join causes.by_fill f on f.bot = t.bot
cross join (values (false), (true)) as v (is_exit)
where t.side is not null and case when v.is_exit then t.closed_at else t.opened_at end is not null
