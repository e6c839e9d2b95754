-- grain: one thing that OKX once said, and that must not change; key: all columns
-- Whose key it is, and what a contract is worth: by every version that came, and not by the latest.
select distinct
  r.account,
  r.kind,
  r.id,
  case r.kind
    when 'config' then coalesce(r.payload ->> 'uid', '')
    else concat_ws(' · ', r.payload ->> 'ctVal', coalesce(r.payload ->> 'ctMult', '1'))
  end as identity
from raw.run_snapshots r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.venue = 'okx' and r.kind in ('config', 'instrument')
