-- grain: what was last told of one owner's session; key: account, scope, bot, session_date
-- replaces: k.account in (select account from told.tonight)
select p.account, p.scope, p.bot, p.session_date, p.net, p.carried
from pnl.by_session p
semi join told.tonight t on t.account = p.account
