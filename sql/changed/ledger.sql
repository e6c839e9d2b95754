-- grain: one movement of cash that is not tonight what it was, as it was or as it is
-- What an earlier night did not know of is new; the rows of a record that is staged again are held
-- against what they were, in every column.
with before as (
  select e.*
  from evidence.ledger e
  semi join raw.revised r
    on r.account = e.account and r.kind = e.source_kind and r.id = e.source_id
),

again as (
  select s.*
  from staging.ledger s
  semi join raw.revised r
    on r.account = s.account and r.kind = s.source_kind and r.id = s.source_id
)

select s.account, s.instrument, s.trade_id, s.kind, s."at", s.seq, s.session_date, s.currency
from staging.ledger s
anti join raw.revised r
  on r.account = s.account and r.kind = s.source_kind and r.id = s.source_id
union all by name
select account, instrument, trade_id, kind, "at", seq, session_date, currency
from ((from before except all from again) union all by name (from again except all from before))
