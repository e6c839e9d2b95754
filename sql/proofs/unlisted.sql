-- grain: an instrument that a bot owns or claims, and its venue does not list; key: account, instrument
-- OKX lists options by family, and is asked for the families that were traded: of any other option
-- nothing is known. Where no instrument of a type is listed, the listing is not whole.
with at_okx as (
  select o.account, o.instrument from config.owners o
  union
  select b.account, c.instrument
  from proofs.claimed_names c
  join config.bots b on b.bot = c.bot
)

select n.account, n.instrument
from at_okx n
join config.accounts a on a.account = n.account and a.venue = 'okx'
anti join proofs.listed l on l.account = n.account and l.instrument = n.instrument
where
  not regexp_full_match(n.instrument, '.*-[0-9]{6}-.*-[CP]')
  and not exists (
    from config.instrument_types t
    where
      t.account = n.account and t.instrument_type <> 'OPTION'
      and not exists (
        from staging.okx_instruments i
        where i.account = t.account and i.instrument_kind = lower(t.instrument_type)
      )
  )
union
select u.account, u.instrument
from staging.ccxt_unlisted u
anti join proofs.listed l on l.account = u.account and l.instrument = u.instrument
