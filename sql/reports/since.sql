-- grain: one reported account, and its first reported session; key: account
-- replaces: k.account in (select account from reports.this_run)
select a.account, a.first_date as since
from config.accounts a
semi join reports.this_run t on t.account = a.account
