-- grain: as proofs/funds_lines.sql, each day told by one statement alone: the last generated one
-- that has the statement of funds and reaches it
with told as (
  select l.*, s.generated_at, s.to_date, a.currency as account_currency
  from proofs.funds_lines l
  join staging.flex_statements s on s.account = l.account and s.statement_id = l.statement_id
  join config.accounts a on a.account = l.account
  where l.day between a.first_date and a.last_date and l.day between s.from_date and s.to_date
),

-- Amounts in the base currency say it again, where those in their own are told, too.
levelled as (
  select *, bool_or(not is_in_base) over (partition by account, statement_id) as has_own
  from told
)

select * exclude (has_own, generated_at, to_date)
from levelled
where is_in_base = not has_own
qualify
  dense_rank() over (
    partition by account, day order by generated_at desc nulls last, to_date desc, statement_id
  ) = 1
