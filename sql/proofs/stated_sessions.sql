-- grain: what the broker says an instrument realised in a session; key: account, instrument, currency, session_date
-- let: stated_from = select coalesce(min(session_date), date '9999-12-31') from changed.stated_pnl
-- replaces: (k.account, k.instrument, k.session_date) in (select account, instrument, session_date from changed.stated_pnl)
select
  s.account,
  s.instrument,
  s.currency,
  s.session_date,
  sum(s.broker_pnl)::decimal(38, 18) as stated,
  count(s.broker_pnl) as told,
  count(*) as records
from evidence.stated_pnl s
semi join changed.stated_pnl c
  on c.account = s.account and c.instrument = s.instrument and c.session_date = s.session_date
where s.session_date >= getvariable('stated_from')
group by s.account, s.instrument, s.currency, s.session_date
