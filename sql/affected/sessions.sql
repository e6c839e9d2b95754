-- grain: one account whose sessions are added up again, and from which on; key: account
select account, min(from_session) as from_session
from affected.lots
group by account
