-- grain: one owner's realised PnL of the window; key: account, scope, bot
select
  account,
  scope,
  bot,
  whole_sum(gross) as gross,
  whole_sum(fees) as fees,
  whole_sum(funding) as funding,
  whole_sum(other) as other,
  whole_sum(net) as net,
  whole_sum(carried) as carried,
  sum(fills)::bigint as fills
from pnl.by_session
group by account, scope, bot
