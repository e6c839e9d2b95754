-- grain: one thing that happened to lots that are run again; key: account, kind, event_id
-- What the lots program is fed tonight. `bot` is the owner of a fill: its order tag first, the
-- longest that fits; else the owner of the instrument; else nobody: null. For a cash entry it is the
-- owner of its instrument, should no bot hold it.
-- A fee is left in the currency it was charged in: `fee_in` says which side of the fill that is. One
-- in a third coin is given in the account's currency, at the rate of its minute.
-- let: lots_from = select coalesce(min(from_session), date '9999-12-31') from touched.lots
with fills as (
  select f.*, t.last_session
  from evidence.fills f
  join touched.lots t on t.account = f.account and t.instrument = f.instrument
  where
    f.session_date >= getvariable('lots_from')
    and f.session_date between t.from_session and t.last_session
),

-- What was held before the window, of instruments that have been traded since: what a contract is
-- worth, and in which currency, is what their first fill says.
opened as (
  select
    o.account,
    o.instrument,
    o.number,
    o.position_side,
    o.qty,
    o.price,
    t.from_session,
    arg_min(f.multiplier, (f.at, f.seq)) as multiplier,
    arg_min(f.is_inverse, (f.at, f.seq)) as is_inverse,
    arg_min(f.rate, (f.at, f.seq)) as rate
  from config.opening o
  join config.accounts a on a.account = o.account
  join touched.lots t
    on t.account = o.account and t.instrument = o.instrument and t.from_session = a.first_date
  join evidence.fills f on f.account = o.account and f.instrument = o.instrument
  group by all
),

tagged as (
  select f.account, f.fill_id, arg_max(b.bot, length(b.order_tag)) as bot
  from fills f
  join config.bots b on b.account = f.account and starts_with(f.order_tag, b.order_tag)
  group by f.account, f.fill_id
)

select
  f.account,
  f.instrument,
  case when f.to_instrument is null then 'fill' else 'exercise' end as kind,
  f.fill_id as event_id,
  f.at,
  f.seq,
  f.session_date,
  coalesce(t.bot, o.bot) as bot,
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
  m.family
from fills f
left join touched.families m on m.account = f.account and m.instrument = f.instrument
left join tagged t on t.account = f.account and t.fill_id = f.fill_id
left join config.owners o on o.account = f.account and o.instrument = f.instrument
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
  l.rate,
  m.family
from evidence.ledger l
left join touched.families m on m.account = l.account and m.instrument = l.instrument
join touched.lots t on t.account = l.account and t.instrument = coalesce(l.instrument, '')
left join config.owners o on o.account = l.account and o.instrument = l.instrument
where
  l.session_date >= getvariable('lots_from')
  and l.session_date between t.from_session and t.last_session
  and l.kind in (from config.lot_kinds)
union all by name
select
  o.account,
  o.instrument,
  'opening' as kind,
  'opening/' || o.number as event_id,
  a.window_start as "at",
  (o.number - 1000000000)::hugeint as seq,
  o.from_session as session_date,
  w.bot,
  o.position_side,
  o.qty,
  o.price,
  o.multiplier,
  o.is_inverse,
  0::decimal(38, 18) as amount,
  'settlement' as fee_in,
  o.rate,
  m.family
from opened o
join config.accounts a on a.account = o.account
left join touched.families m on m.account = o.account and m.instrument = o.instrument
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
  e.to_instrument,
  m.family
from evidence.lot_events e
join touched.lots t on t.account = e.account and t.instrument = e.instrument
left join touched.families m on m.account = e.account and m.instrument = e.instrument
where
  e.session_date >= getvariable('lots_from')
  and e.session_date between t.from_session and t.last_session
