-- grain: one currency that a section of a statement names as the statement's base; key: all columns
-- The connector reads them as it lands a statement (`base_currencies`). A statement that an earlier
-- release has landed has no such list: its Account Information says it.
select
  s.account,
  s.id as statement_id,
  (s.payload ->> 'from_date')::date as from_date,
  (s.payload ->> 'to_date')::date as to_date,
  said.section,
  said.currency
from raw.staged_records s
left join raw.staged_records i
  on i.venue = s.venue and i.account = s.account
  and i.kind = 'AccountInformation' and i.id = 'AccountInformation'
cross join unnest(
  case
    when (s.payload -> 'base_currencies') is not null
      then (s.payload -> 'base_currencies')::struct(section varchar, currency varchar)[]
    when nullif(i.payload ->> 'currency', '') is not null
      then [{'section': 'AccountInformation', 'currency': i.payload ->> 'currency'}]
  end
) as t (said)
where s.venue = 'ibkr-flex' and s.kind = 'FlexStatement'
