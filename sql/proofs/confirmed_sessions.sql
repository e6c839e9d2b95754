-- grain: one session of an account whose word a statement confirms; key: account, session_date
-- Whether a statement of fills and one of cash have the whole session, and nothing of the statements'
-- account is in quarantine: what cannot be read there confirms nothing here.
select
  s.account,
  t.confirmed_by,
  s.session_date,
  coalesce(r.is_readable, false)
  and (
    select count(distinct c.evidence) = 2
    from raw.coverage c
    where
      c.venue = 'ibkr-flex' and c.account = t.confirmed_by and c.status = 'complete'
      and c.evidence in ('fills', 'ledger')
      and c.served_from <= s.start_at and c.served_to >= s.end_at
  ) as is_covered
from config.tws t
join config.accounts a on a.account = t.account
join config.sessions s on s.account = t.account and s.session_date between a.first_date and a.last_date
left join (
  -- An account that this release has not read yet has no evidence to show.
  select k.account, not exists (
    from evidence.quarantine q
    where q.account = k.account and q.kind in ('Trade', 'TradeConfirm', 'CashTransaction')
  ) as is_readable
  from (select account from config.accounts union select account from raw.build_fingerprints) k
) r on r.account = t.confirmed_by
where t.confirmed_by is not null
