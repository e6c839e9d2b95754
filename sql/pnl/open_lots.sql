-- grain: what one owner has open of one instrument when the window ends; key: account, scope, bot,
-- instrument, position_side. `rate` is null where it cannot be valued.
-- let: first_last_date = select min(last_date) from config.accounts
select
  b.account,
  b.scope,
  b.bot,
  b.instrument,
  b.position_side,
  b.is_inverse,
  b.multiplier,
  b.qty,
  b.cost,
  case when b.is_valued and b.cost < 1000000000000000 then b.rate end as rate
from lots.closing_books b
join config.accounts a on a.account = b.account
where
  b.session_date <= a.last_date and b.until_session > a.last_date
  and b.until_session > getvariable('first_last_date')
  and b.qty <> 0
  and b.scope <> 'broker'
