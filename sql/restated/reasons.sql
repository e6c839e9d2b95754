-- grain: one instrument and session of which evidence came, changed or went tonight; key: all but n
-- `what`: fills, or the kind of the movements of cash. Of an account that is made again from the
-- beginning all has changed, which says nothing.
with changed as (
  select account, instrument, session_date, 'fills' as what, seq, "at"
  from changes.fills
  union all
  select account, coalesce(instrument, '') as instrument, session_date, kind as what, seq, "at"
  from changes.ledger
  where kind in (from config.lot_kinds)
)

select account, instrument, session_date, what, count(distinct (seq, "at"))::bigint as n
from changed
anti join (from raw.again where since < timestamp '0002-01-01') using (account)
group by all
