-- grain: one session of one currency's ledger in which an entry changed; key: all columns
select distinct account, currency, session_date
from changed.ledger
