-- grain: one account: from and through which session its lots are run, and through which they were;
-- key: account. A night as of an earlier session doesn't take back what later ones have run.
select
  a.account,
  a.first_date,
  greatest(a.last_date, coalesce(t.last_session, a.last_date)) as last_session,
  coalesce(t.last_session, date '0001-01-01') as through
from config.accounts a
left join lots.through t on t.account = a.account
