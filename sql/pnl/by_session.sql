-- grain: one owner's realised PnL of one session; key: account, scope, bot, session_date
-- scope 'bot': bot is null for what nobody owns. scope 'account': the broker's own, netted figure.
-- What the broker's own method gives, scope 'broker', is in the instruments' currencies: proofs/.
-- `open_costs` is the change in costs paid on what is still open.
-- replaces: exists (from affected.sessions t where t.account = k.account and k.session_date >= t.from_session)
select
  r.account,
  r.scope,
  r.bot,
  r.session_date,
  whole_sum(r.gross) as gross,
  whole_sum(r.fees) as fees,
  whole_sum(r.funding) as funding,
  whole_sum(r.other) as other,
  whole_sum(r.gross + r.fees + r.funding + r.other) as net,
  whole_sum(r.open_costs) as open_costs,
  sum(r.fills)::bigint as fills
from lots.realised r
join affected.sessions t on t.account = r.account
where r.session_date >= getvariable('lots_from') and r.session_date >= t.from_session
  and r.scope <> 'broker'
group by r.account, r.scope, r.bot, r.session_date
