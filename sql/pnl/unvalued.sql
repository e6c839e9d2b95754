-- grain: one instrument of which a part cannot be valued; key: account, instrument
-- Its sessions are looked through only where the total is unknown.
select distinct r.account, r.instrument
from lots.realised r
join pnl.total t on t.account = r.account and t.scope = 'account' and t.gross is null
join config.accounts a on a.account = r.account
where
  r.scope = 'account' and r.gross is null
  and r.session_date between a.first_date and a.last_date
