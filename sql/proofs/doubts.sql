-- grain: one reason why a bot is not proven though the rest of its account may be; key: all columns
-- A finding of one instrument concerns the bots that trade it: that own it, have or had lots of it, or
-- book trades of it; and the bots of every instrument that exchanges lots with it. A trade of a database
-- that several bots name, which is no bot's, concerns all of them. A fill that nobody owns concerns the
-- bots that proofs/unassigned.sql names. A configuration that cannot be right (proofs/misnamed.sql) concerns
-- its bot alone.
with concerned as (
  select f.account, f.instrument as found_in, coalesce(o.instrument, f.instrument) as instrument, f.reason
  from proofs.findings f
  left join affected.families m on m.account = f.account and m.instrument = f.instrument
  left join affected.families o on o.account = m.account and o.family = m.family
  where f.instrument is not null
),

traders as (
  select account, bot, instrument from config.owners
  union
  select account, bot, instrument from config.contested
  union
  select account, bot, instrument
  from lots.closing_books
  semi join concerned using (account, instrument)
  where scope = 'bot' and bot is not null
  union
  select b.account, t.bot, coalesce(n.instrument, t.instrument) as instrument
  from claimed.trades t
  join config.bots b on b.bot = t.bot
  left join config.names n
    on n.account = b.account and n.symbol = t.instrument
    and t.closed_at >= n.from_day and t.closed_at < n.until_day
  semi join concerned c on c.account = b.account and c.instrument = coalesce(n.instrument, t.instrument)
)

select distinct t.account, t.bot, c.found_in || ': ' || c.reason as reason
from traders t
join concerned c on c.account = t.account and c.instrument = t.instrument
union
select account, bot, reason from proofs.unassigned
union
select
  account,
  bot,
  case when trades = 1 then 'trade ' else trades || ' trades, the first ' end || trade_id || ' on ' || instrument
    || ', in the database that ' || bots || ' name, '
    || case when trades = 1 then 'is' else 'are' end
    || ' of none of them: no order of it is attributed to one of them, and not one of them alone trades its '
    || 'instrument: list the instrument under the bot that trades it, or leave the trade out by a mapping'
    as reason
from claimed.nobodys
union
select account, bot, reason from proofs.misnamed
