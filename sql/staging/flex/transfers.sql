-- grain: one transfer of a position into the account or out of it; key: account, id
-- Cash that is transferred is no position. `qty` is null where it cannot be read.
select
  r.account,
  r.id,
  trim(r.payload ->> 'symbol') as instrument,
  concat_ws(' ', nullif(r.payload ->> 'type', ''), nullif(r.payload ->> 'direction', '')) as type,
  exact(r.payload ->> 'quantity') as qty,
  coalesce(p.day, d.day, c.day) as day,
  coalesce(s.session_date, coalesce(p.day, d.day, c.day)) as session_date
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
left join staging.flex_clock p on p.text = r.payload ->> 'reportDate'
left join staging.flex_clock d on d.text = r.payload ->> 'date'
left join staging.flex_clock c on c.text = r.payload ->> 'dateTime'
asof left join config.sessions s
  on s.account = r.account and coalesce(p.day, d.day, c.day) <= s.session_date
where r.venue = 'ibkr-flex' and r.kind = 'Transfer'
  and coalesce(trim(r.payload ->> 'symbol'), '') not in ('', '--')
  and exact(r.payload ->> 'quantity') is distinct from 0
