-- grain: one closed trade of a database that several bots name, as one of them reads it; key: bot, trade_id
-- `owner` is the one bot in whose claim it counts: the bot that its orders are attributed to (that of the
-- latest fill, where these are several); else the only bot that trades its instrument, in the accounts
-- where its orders were filled, if they were; else, where no bot trades its instrument, the bot that alone
-- reads the database by its mapping. Null where nobody can tell. `candidates` are the bots that trade its
-- instrument; null where none does.
with trades as (
  select d.database, d.bot, d.has_own_mapping, t.trade_id, t.instrument, t.closed_at
  from config.databases d
  join bot_database.trades t on t.bot = d.bot
),

attributed as (
  select f.bot, f.trade_id, arg_max(f.owner, (f.at, f.event_id)) as owner
  from claimed.fills f
  semi join config.databases d on d.database = f.database and d.bot = f.owner
  group by f.bot, f.trade_id
),

placed as (
  select bot, trade_id, list(distinct account) as accounts from claimed.fills group by bot, trade_id
),

traders as (
  select database, bot, account, instrument from config.database_instruments
  union
  select d.database, d.bot, d.account, r.instrument
  from config.databases d
  join (select distinct account, bot, instrument from lots.realised where scope = 'bot') r
    on r.account = d.account and r.bot = d.bot
),

by_instrument as (
  select
    t.bot,
    t.trade_id,
    case when count(distinct o.bot) = 1 then any_value(o.bot) end as owner,
    list(distinct o.bot) as candidates
  from trades t
  join traders o on o.database = t.database and o.instrument = t.instrument
  left join placed p on p.bot = t.bot and p.trade_id = t.trade_id
  where coalesce(list_contains(p.accounts, o.account), true)
  group by t.bot, t.trade_id
)

select
  t.database,
  t.bot,
  t.trade_id,
  t.instrument,
  t.closed_at,
  coalesce(
    a.owner,
    case when i.bot is not null then i.owner when t.has_own_mapping then t.bot end
  ) as owner,
  i.candidates
from trades t
left join attributed a on a.bot = t.bot and a.trade_id = t.trade_id
left join by_instrument i on i.bot = t.bot and i.trade_id = t.trade_id
