-- grain: one reason why an account is not proven though its evidence is whole; key: all columns
-- A finding that names an instrument concerns the bots that trade it (proofs/doubts.sql), and no others: it
-- may name one only where every fill and entry of the instrument is known, and their value is not.
-- A finding without an instrument (null) concerns every bot of the account. So does missing evidence:
-- nobody can tell whose it is.
with found as (
  select f.account, nullif(f.instrument, '') as instrument, f.reason
  from evidence.findings f
  join config.accounts a on a.account = f.account
  where coalesce(f.session_date <= a.last_date, true)
  union
  select
    s.account,
    s.instrument,
    'more was sold than was bought since the window began: the cost of the rest is not known'
  from proofs.short_spot s
  join config.accounts a on a.account = s.account
  anti join evidence.quarantine q  -- the fill that cannot be read may be what was bought
    on q.account = s.account and q.kind = 'fill' and coalesce(q.instrument, s.instrument) = s.instrument
  where s.session_date <= a.last_date
  union
  select
    c.account,
    null as instrument,
    'the ledger shows one side of a conversion in ' || c.currency || ', and not the other' as reason
  from proofs.okx_conversions c
  semi join config.accounts a on a.account = c.account
  anti join proofs.okx_conversions o
    on o.account = c.account and o.currency <> c.currency
    and sign(o.balance_change) = -sign(c.balance_change)
    and abs(epoch_ms(o.at) - epoch_ms(c.at)) <= 1000
  union
  select account, instrument, reason from proofs.flex_missing
  union
  select account, instrument, 'one symbol for two instruments or currencies: not told apart yet'
  from (
    select account, instrument, instrument_kind as category, currency from evidence.instruments
    union
    select account, instrument, lower(category), currency
    from staging.flex_parsed_positions
    where reason is null and category <> ''
    union
    select account, instrument, instrument_kind, currency
    from staging.tws_parsed_positions
    where reason is null
  )
  semi join (from config.accounts where venue in ('ibkr-flex', 'ibkr-tws')) using (account)
  group by account, instrument
  having count(distinct row(category, currency)) > 1
  union
  select account, instrument, 'the bots ' || string_agg(bot, ' and ' order by bot)
    || ' own it under different symbols: name it in the instruments of one of them'
  from config.contested
  group by account, instrument
  union
  select
    i.account,
    case when i.kind = 'instrument' then i.id end as instrument,
    case i.kind
      when 'config'
        then 'the key belongs to another OKX account than before (uid '
          || string_agg(i.identity, ', ' order by i.identity)
          || '): give that account an [[accounts]] entry of its own'
      when 'instrument'
        then 'its contract value has changed: fills before and after are not told apart yet'
      else 'statements of several IBKR accounts were landed under it ('
        || string_agg(i.identity, ', ' order by i.identity)
        || '): give each an [[accounts]] entry of its own'
    end as reason
  from evidence.identities i
  semi join config.accounts a on a.account = i.account
  where
    i.kind <> 'instrument'
    or exists (from evidence.instruments t where t.account = i.account and t.instrument = i.id)
  group by i.account, i.kind, i.id
  having count(*) > 1
)

from found
union
select
  u.account,
  u.instrument,
  case
    when bool_or(o.account is not null)
      then 'what was held before the window was closed, and its cost is not known: '
        || 'give it a price in [[accounts.opening]]'
    else 'cannot be valued exactly'
  end as reason
from pnl.unvalued u
left join config.opening o
  on o.account = u.account and o.instrument = u.instrument and o.price is null
anti join found f on f.account = u.account and f.instrument = u.instrument
group by u.account, u.instrument
