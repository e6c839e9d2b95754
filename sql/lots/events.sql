-- grain: one thing that happened to the lots of an account; key: account, kind, event_id
-- What the lots program is fed. `bot` is the owner of a fill; for a cash entry the owner of its
-- instrument, should no bot hold it.
-- A fee is left in the currency it was charged in: `fee_in` says which side of the fill that is.
select
  account,
  instrument,
  'fill' as kind,
  fill_id as event_id,
  "at",
  seq,
  session_date,
  bot,
  position_side,
  qty,
  price,
  multiplier,
  is_inverse,
  fee as amount,
  case
    when fee = 0 or fee_currency = currency then 'settlement'
    when fee_currency = base_currency then 'base'
    else 'unknown'
  end as fee_in,
  rate
from lots.attributed
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
from staging.ledger l
join config.accounts a on a.account = l.account
left join config.owners o on o.account = l.account and o.instrument = l.instrument
where
  l.session_date between a.first_date and a.last_date
  and l.kind in ('funding', 'interest', 'dividend', 'tax', 'fee', 'penalty')
