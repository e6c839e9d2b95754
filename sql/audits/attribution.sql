-- Σ bots + unowned = account, per instrument: what owners hold adds up to what the account holds, which
-- the proof of positions holds against the statement. Instruments that a corporate action changed are
-- left out: it changes what each side holds, and where an action misses evidence these differ. Returns
-- the instruments, of those that were run again, where that does not hold.
select
  b.account,
  b.instrument,
  b.position_side,
  sum(case b.scope when 'bot' then b.qty else -b.qty end) as difference
from lots.closing_books b
semi join affected.lots t on t.account = b.account and t.instrument = b.instrument
anti join (select account, unnest([instrument, to_instrument]) as instrument from evidence.lot_events) e
  on e.account = b.account and e.instrument = b.instrument
where b.scope <> 'broker' and b.until_session = date '9999-12-31'
group by b.account, b.instrument, b.position_side
having count(*) = count(b.qty) and sum(case b.scope when 'bot' then b.qty else -b.qty end) <> 0
