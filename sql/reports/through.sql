-- grain: one reported account, and its last reported session; key: account
-- let: told_through = select coalesce(map(list(account), list(through)), map {}) from reports.through
-- replaces: k.account in (select account from reports.this_run)
select
  a.account,
  greatest(a.last_date, coalesce(getvariable('told_through')[a.account], a.last_date)) as through
from config.accounts a
semi join reports.this_run t on t.account = a.account
