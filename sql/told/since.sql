-- grain: one account of which something was told, and from which session on; key: account
-- replaces: k.account in (select account from told.tonight)
select a.account, a.first_date as since
from config.accounts a
semi join told.tonight t on t.account = a.account
