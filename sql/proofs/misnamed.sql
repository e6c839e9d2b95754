-- grain: why a bot's instruments, its database's and its venue's do not fit together; key: bot, reason
-- Which instruments a bot trades is not known where its orders are told by a tag.
with claimed as (
  select b.account, b.bot, c.instrument, o.instrument is not null as is_owned
  from proofs.claimed_names c
  join config.bots b on b.bot = c.bot
  left join config.owners o
    on o.account = b.account and o.bot = b.bot and o.instrument = c.instrument
),

strange as (
  select c.account, c.bot, c.instrument, bool_or(c.is_owned) over (partition by c.bot) as owns_some
  from claimed c
  join config.bots b on b.bot = c.bot and b.order_tag is null
  qualify not c.is_owned
),

known as (
  from proofs.listed
  union
  from proofs.named
)

select
  o.account,
  o.bot,
  'bots.' || o.bot || '.instruments: ' || u.said || ': write the venue''s name there' as reason
from config.owners o
join proofs.unknown u on u.account = o.account and u.instrument = o.instrument
union
select
  c.account,
  c.bot,
  'its database has trades on ' || c.instrument || ', and ' || u.said
    || ': give the venue''s name in the mapping'
from claimed c
join proofs.unknown u on u.account = c.account and u.instrument = c.instrument
where not c.is_owned
union
select
  s.account,
  s.bot,
  'its database has trades on ' || string_agg(s.instrument, ', ' order by s.instrument)
    || ', and on none of its instruments: correct bots.' || s.bot || '.instruments, or its books'
from strange s
semi join known k on k.account = s.account and k.instrument = s.instrument
where
  not s.owns_some
  and s.bot not in (
    select o.bot
    from config.owners o
    semi join proofs.unknown u on u.account = o.account and u.instrument = o.instrument
  )
group by s.account, s.bot
union
select
  s.account,
  s.bot,
  'its database has trades on ' || s.instrument || ', which no bot owns, and the account has fills '
    || 'of it that nobody owns: add it to bots.' || s.bot || '.instruments'
from strange s
anti join config.owners o on o.account = s.account and o.instrument = s.instrument
semi join proofs.unowned_names f on f.account = s.account and f.instrument = s.instrument
where s.owns_some
