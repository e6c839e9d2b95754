-- grain: the figures last reported of one owner's session; key: account, scope, bot, session_date
-- replaces: k.account in (select account from reports.this_run)
select p.account, p.scope, p.bot, p.session_date, p.net, p.open_costs
from pnl.by_session p
semi join reports.this_run t on t.account = p.account
