-- grain: one owner's realised PnL of the window; key: account, scope, bot
select
  s.account,
  s.scope,
  s.bot,
  whole_sum(s.gross) as gross,
  whole_sum(s.fees) as fees,
  whole_sum(s.funding) as funding,
  whole_sum(s.other) as other,
  whole_sum(s.net) as net,
  whole_sum(s.open_costs) as open_costs,
  sum(s.fills)::bigint as fills
from pnl.by_session s
join config.accounts a on a.account = s.account
where s.session_date between a.first_date and a.last_date
group by s.account, s.scope, s.bot
