-- grain: one reason why a bot is not proven though the rest of its account may be; key: all columns
-- A finding of one instrument concerns the bots that trade it: that own it, have or had lots of it, or
-- book trades of it; and the bots of every instrument that exchanges lots with it.
with concerned as (
  select f.account, f.instrument as found_in, coalesce(o.instrument, f.instrument) as instrument, f.reason
  from proofs.findings f
  left join touched.families m on m.account = f.account and m.instrument = f.instrument
  left join touched.families o on o.account = m.account and o.family = m.family
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
  from books.trades t
  join config.bots b on b.bot = t.bot
  left join config.names n
    on n.account = b.account and n.symbol = t.instrument
    and t.closed_at >= n.from_day and t.closed_at < n.until_day
  semi join concerned c on c.account = b.account and c.instrument = coalesce(n.instrument, t.instrument)
)

select distinct t.account, t.bot, c.found_in || ': ' || c.reason as reason
from traders t
join concerned c on c.account = t.account and c.instrument = t.instrument
