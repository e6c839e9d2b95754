-- grain: one kind and settlement currency of an instrument traded in a session; key: all columns
-- let: changed_from = select coalesce(min(session_date), date '9999-12-31') from changed.fills
-- replaces: (k.account, k.instrument, k.session_date) in (select account, instrument, session_date from changed.fills)
select distinct f.account, f.instrument, f.session_date, f.instrument_kind, f.currency
from evidence.fills f
join config.accounts a on a.account = f.account
semi join changed.fills c
  on c.account = f.account and c.instrument = f.instrument and c.session_date = f.session_date
where f.session_date >= getvariable('changed_from') and f.session_date >= a.first_date
