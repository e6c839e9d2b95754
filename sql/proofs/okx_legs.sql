-- grain: one thing that a fill or an entry did to what an account is worth
-- view
-- `amount` is what it added in `currency`, before what a contract itself is then worth: a contract
-- bought costs its value (`value_amount`), a coin bought is there. `qty` is the change of the contract held. What the
-- settlement of a future pays is worth its position has lost, and what is moved between an account
-- and one of its isolated positions stays its own.
with faced as (
  select
    f.*,
    f.instrument_kind in ('spot', 'margin') as is_spot,
    at_rate(f.qty, f.multiplier) as face
  from evidence.fills f
  join config.accounts a on a.account = f.account and a.venue = 'okx'
),

valued as (
  select
    *,
    case when is_inverse then coin_value(face, price) else -at_rate(face, price) end as value_amount
  from faced
)

select
  account,
  instrument,
  currency,
  "at",
  session_date,
  case when is_spot then 0 else qty end::decimal(38, 18) as qty,
  value_amount,
  value_amount as amount
from valued
union all by name
select account, instrument, fee_currency as currency, "at", session_date, 0 as qty, fee as amount
from valued
where fee <> 0
union all by name
select account, instrument, base_currency as currency, "at", session_date, 0 as qty, qty as amount
from valued
where is_spot
union all by name
select l.account, null as instrument, l.currency, l.at, l.session_date, 0 as qty, l.amount
from evidence.ledger l
join config.accounts a on a.account = l.account and a.venue = 'okx'
where l.kind not in ('trade', 'exercise', 'settlement', 'margin')
