-- grain: one thing that an exchange once said, and that must not change; key: all columns
-- What a contract is worth: by every version that came, and not by the latest.
select distinct
  r.account,
  r.kind,
  r.id,
  concat_ws(' · ', r.payload ->> 'contractSize', r.payload ->> 'inverse', r.payload ->> 'settle') as identity
from raw.run_snapshots r
join config.exchanges x on x.account = r.account and x.exchange = r.venue
where r.kind = 'instrument'
