-- grain: one trade whose orders the broker has filled, but not in the account and window of its bot; key: bot, trade_id
-- `account` is where they were filled; the bot's own, where it was before its window. `owner` is the bot that
-- placed the order there; null where nobody knows.
with ids as (
  select b.bot, b.account, b.trade_id, unnest(b.order_ids) as id
  from causes.bot_trades b
  anti join causes.id_matches n on n.bot = b.bot and n.trade_id = b.trade_id
),

filled as (
  select i.bot, i.trade_id, i.account as own_account, f.account, f.order_id, f.bot as owner
  from ids i
  join evidence.events f on f.order_id = i.id
  union
  select i.bot, i.trade_id, i.account as own_account, f.account, f.order_id, f.bot as owner
  from ids i
  join evidence.events f on f.order_tag = i.id
)

select
  bot,
  trade_id,
  arg_min(account, (account <> own_account, account)) as account,
  arg_min(order_id, (account <> own_account, account)) as order_id,
  max(owner) as owner,
  bool_or(account = own_account) as is_own
from filled
group by bot, trade_id
