-- grain: one reason why the owner of a fill is in doubt, of one bot that it may concern; key: all columns
-- A fill that nobody owns concerns the bots that held a position of its instrument just then: what it
-- closed may have been theirs. Where the record of its order is missing, it may be of any bot whose tag
-- that record could name, and of the owner of the instrument.
with unowned as (
  select
    u.*,
    coalesce('order ' || u.order_id, 'fill ' || u.fill_id) as name,
    case
      when o.client_order_id is null and o.order_id is not null then 'clOrdId'
      when o.algo_client_order_id is null and o.order_id is not null then 'algoClOrdId'
    end as lacks
  from pnl.unowned u
  join config.accounts a on a.account = u.account
  left join evidence.orders o on o.account = u.account and o.order_id = u.order_id
  where u.session_date between a.first_date and a.last_date
),

possible as (
  select u.account, b.bot, u.instrument, u.name, u.at, u.is_order_missing, u.lacks
  from unowned u
  join lots.bystanders b on b.account = u.account and b.event_id = u.fill_id
  union
  select u.account, b.bot, u.instrument, u.name, u.at, true as is_order_missing, u.lacks
  from unowned u
  join (
    select account, bot, null as instrument from config.bots where order_tag is not null
    union all
    select account, bot, instrument from config.owners
  ) b on b.account = u.account and coalesce(b.instrument, u.instrument) = u.instrument
  where u.is_order_missing
),

named as (
  select account, bot, instrument, is_order_missing, lacks, list(name order by "at", name) as names
  from (
    select account, bot, instrument, is_order_missing, lacks, name, min("at") as "at"
    from possible
    group by account, bot, instrument, is_order_missing, lacks, name
  )
  group by account, bot, instrument, is_order_missing, lacks
),

unread as (
  select account, min(reason) as reason
  from raw.coverage
  where run = getvariable('run') and evidence = 'orders' and status = 'failed'
  group by account
)

select
  n.account,
  n.bot,
  n.instrument || ': ' || array_to_string(n.names[1:8], ', ')
  || case when len(n.names) > 8 then ' and ' || len(n.names) - 8 || ' more' else '' end
  || case
    when not n.is_order_missing
      then ' changed the position while this bot held one, and no bot is known to own that: '
    when n.lacks is not null then ' may be this bot''s: OKX''s record of the order has no ' || n.lacks || ': '
    when r.account is not null
      then ' may be this bot''s: the records of orders could not be fetched (' || r.reason
        || '): run again, or '
    else ' may be this bot''s: OKX has served no record of the order, and keeps them for three months: '
  end
  || 'say whose it is (recon assign ORDER --bot BOT, or --nobody; recon unowned lists all)' as reason
from named n
left join unread r on r.account = n.account
