-- grain: one row of affected.events, in codes and in the order that the compiled kernel wants
-- Not of those that the plain kernel alone can run.
-- An id would take the sort as long again: where instant and `seq` leave a tie, the kernel hands over.
select
  k.key,
  (case
    when e.kind = 'fill' then 0
    when e.kind = 'funding' then 1
    when e.kind = 'fee' then 2
    when e.kind in (from config.lot_kinds) then 3
    else 4
  end)::tinyint as kind,
  e.session_date,
  e.at,
  coalesce(try_cast(e.seq as bigint), 0) as seq,
  coalesce(b.code, -1)::integer as bot,
  (case e.position_side when 'long' then 1 when 'short' then 2 else 0 end)::tinyint as side,
  e.qty,
  e.price,
  e.multiplier,
  e.is_inverse,
  e.amount,
  (case e.fee_in when 'base' then 1 when 'unknown' then 2 when 'account' then 3 else 0 end)::tinyint as fee_in,
  e.rate
from affected.events e
join affected.keys k on k.account = e.account and k.instrument = e.instrument
anti join affected.plain p on p.account = e.account and p.instrument = e.instrument
left join affected.bots b on b.bot = e.bot
order by k.key, e.session_date, e.at, e.seq
