-- grain: a bot's instrument that neither the venue nor the account's evidence knows; key: account, instrument
-- `said` names it, and the three listed names that are most like it.
with unknown as (
  from proofs.unlisted u
  anti join proofs.named n on n.account = u.account and n.instrument = u.instrument
),

likest as (
  select u.account, u.instrument, l.instrument as near
  from unknown u
  join proofs.listed l on l.account = u.account
  qualify row_number() over (
    partition by u.account, u.instrument
    order by likeness(u.instrument, l.instrument) desc, l.instrument
  ) <= 3
),

kinds as (
  select account, string_agg(instrument_type, ' or ' order by instrument_type) as kinds
  from config.instrument_types
  group by account
)

select
  u.account,
  u.instrument,
  a.venue || ' lists no ' || coalesce(k.kinds, 'instrument') || ' called ' || u.instrument
    || coalesce(
      '; the nearest names are '
        || string_agg(l.near, ', ' order by likeness(u.instrument, l.near) desc, l.near),
      ''
    ) as said
from unknown u
join config.accounts a on a.account = u.account
left join kinds k on k.account = u.account
left join likest l on l.account = u.account and l.instrument = u.instrument
group by u.account, u.instrument, a.venue, k.kinds
