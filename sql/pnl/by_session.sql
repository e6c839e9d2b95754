-- grain: one owner's realised PnL of one session; key: account, scope, bot, session_date
-- scope 'bot': bot is null for what nobody owns. scope 'account': the broker's own, netted figure.
-- `carried` is the change in costs paid on what is still open.
select
  account,
  scope,
  bot,
  session_date,
  whole_sum(gross) as gross,
  whole_sum(fees) as fees,
  whole_sum(funding) as funding,
  whole_sum(other) as other,
  whole_sum(gross + fees + funding + other) as net,
  whole_sum(carried) as carried,
  count(*) filter (kind = 'fill') as fills
from lots.realised
group by account, scope, bot, session_date
