-- grain: one instrument and session of which evidence was added, changed or removed by this run; key: all but n
-- `what`: fills, the kind of the movements of cash, or what named another owner for older fills. Of an account that is made again from the
-- beginning all has changed, which says nothing.
with changed as (
  select account, instrument, session_date, 'fills' as what, seq, "at"
  from changed.fills
  union all
  select account, coalesce(instrument, '') as instrument, session_date, kind as what, seq, "at"
  from changed.ledger
  where kind in (from config.lot_kinds)
  union all
  select r.account, r.instrument, r.session_date, r.what, r.seq, r.at
  from affected.reattributed r
  anti join changed.fills f
    on f.account = r.account and f.instrument = r.instrument and f.at = r.at and f.seq = r.seq
)

select account, instrument, session_date, what, count(distinct row(seq, "at"))::bigint as n
from changed
anti join (from raw.restage_requests where since < timestamp '0002-01-01') using (account)
group by all
