-- grain: one thing that happened to lots, and who owns it; key: account, kind, event_id
-- view
-- let: order_tags = select coalesce(list({account: account, order_tag: order_tag, bot: bot} order by length(order_tag) desc, order_tag), []) from config.bots where order_tag is not null
-- let: told_by_orders = select coalesce(list(distinct b.account), []) from config.bots b join config.accounts a using (account) where b.order_tag is not null and a.venue = 'okx'
-- `bot` is the owner of a fill: whom a person has assigned it to; else by its order tag, the longest
-- that fits what the bot wrote on the order, or on the algo order that placed it; else the owner of the
-- instrument; else nobody: null. OKX keeps the second on the order alone: while the record of the order
-- is missing (`is_order_missing`) and no tag fits, nobody is named. `is_unowned`: nobody is, and no
-- person has said that it is no bot's. What is assigned to a bot that there is no more is no bot's.
-- For a cash entry `bot` is the owner of its instrument, should no bot hold it. A fee is left in the currency it was charged in: `fee_in` says which side of the fill that
-- is. One in a third coin is given in the account's currency, at the rate of its minute.
-- What was held before the window is there for instruments that have been traded since: what a
-- contract is worth, and in which currency, is what their first fill says.
with opened as (
  select
    o.account,
    o.instrument,
    o.number,
    o.position_side,
    o.qty,
    o.price,
    arg_min(f.multiplier, (f.at, f.seq)) as multiplier,
    arg_min(f.is_inverse, (f.at, f.seq)) as is_inverse,
    arg_min(f.rate, (f.at, f.seq)) as rate
  from config.opening o
  join evidence.fills f on f.account = o.account and f.instrument = o.instrument
  group by all
),

tagged as (
  select
    f.*,
    list_filter(
      getvariable('order_tags'),
      lambda t: t.account = f.account and (
        starts_with(f.order_tag, t.order_tag) or starts_with(n.client_order_id, t.order_tag)
        or starts_with(n.algo_client_order_id, t.order_tag)
      )
    )[1].bot as tagged_bot,
    f.order_id is not null and list_contains(getvariable('told_by_orders'), f.account)
    and (n.client_order_id is null or n.algo_client_order_id is null)
    and not coalesce(f.is_system, false) as lacks_order
  from evidence.fills f
  left join evidence.orders n on n.account = f.account and n.order_id = f.order_id
),

attributed as (
  select
    t.*,
    x.id is not null as is_assigned,
    x.id is null and t.tagged_bot is null and t.lacks_order as is_order_missing,
    case
      when x.id is not null then b.bot
      when t.tagged_bot is not null then t.tagged_bot
      when not t.lacks_order then o.bot
    end as bot
  from tagged t
  left join config.assignments x
    on x.account = t.account and x.is_order = (t.order_id is not null)
    and x.id = coalesce(t.order_id, t.fill_id)
  left join config.bots b on b.account = x.account and b.bot = x.bot
  left join config.owners o on o.account = t.account and o.instrument = t.instrument
)

select
  f.account,
  f.instrument,
  case when f.to_instrument is null then 'fill' else 'exercise' end as kind,
  f.fill_id as event_id,
  f.at,
  f.seq,
  f.session_date,
  f.bot,
  f.position_side,
  f.qty,
  f.price,
  f.multiplier,
  f.is_inverse,
  case
    when f.fee = 0 or f.fee_currency in (f.currency, f.base_currency) or f.fee_rate is null then f.fee
    else at_rate(f.fee, f.fee_rate)
  end as amount,
  case
    when f.fee = 0 or f.fee_currency = f.currency then 'settlement'
    when f.fee_currency = f.base_currency then 'base'
    when f.fee_rate is null then 'unknown'
    else 'account'
  end as fee_in,
  f.rate,
  f.proceeds,
  f.to_instrument,
  f.exercise_id,
  f.order_id,
  f.order_tag,
  f.trade_id,
  f.is_system,
  f.bot is null and not f.is_assigned as is_unowned,
  f.is_order_missing
from attributed f
union all by name
select
  l.account,
  coalesce(l.instrument, '') as instrument,
  l.kind,
  l.entry_id as event_id,
  l.at,
  l.seq,
  l.session_date,
  o.bot,
  'net' as position_side,
  l.amount,
  l.rate
from evidence.ledger l
left join config.owners o on o.account = l.account and o.instrument = l.instrument
where l.kind in (from config.lot_kinds)
union all by name
select
  o.account,
  o.instrument,
  'opening' as kind,
  'opening/' || o.number as event_id,
  a.window_start as "at",
  (o.number - 1000000000)::hugeint as seq,
  a.first_date as session_date,
  w.bot,
  o.position_side,
  o.qty,
  o.price,
  o.multiplier,
  o.is_inverse,
  0::decimal(38, 18) as amount,
  'settlement' as fee_in,
  o.rate
from opened o
join config.accounts a on a.account = o.account
left join config.owners w on w.account = o.account and w.instrument = o.instrument
union all by name
select
  e.account,
  e.instrument,
  e.kind,
  e.event_id,
  e.at,
  e.seq,
  e.session_date,
  'net' as position_side,
  e.qty,
  0::decimal(38, 18) as amount,
  1::decimal(38, 18) as rate,
  e.to_instrument
from evidence.lot_events e
