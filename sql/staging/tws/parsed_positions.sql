-- grain: one position of the latest snapshot, with a reason where it cannot be read
with taken as (
  select account, max(served_to) as taken_at
  from raw.coverage
  where venue = 'ibkr-tws' and kind = 'position' and status = 'complete'
  group by account
)

select
  r.account,
  r.id,
  t.taken_at,
  case
    when r.payload ->> 'secType' in ('STK', 'CFD', 'CASH') then coalesce(trim(r.payload ->> 'symbol'), '')
    else coalesce(trim(r.payload ->> 'localSymbol'), '')
  end as symbol,
  coalesce(n.instrument, symbol) as instrument,
  lower(coalesce(r.payload ->> 'secType', '')) as instrument_kind,
  coalesce(r.payload ->> 'currency', '') as currency,
  exact(r.payload ->> 'position') as qty,
  nullif(concat_ws(
    '; ',
    case when symbol = '' then 'symbol and localSymbol are missing' end,
    case when currency = '' then 'currency is missing' end,
    case when qty is null then 'position is missing or unreadable' end
  ), '') as reason
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
left join taken t on t.account = r.account
left join config.conids n on n.account = r.account and n.conid = r.payload ->> 'conId'
  and r.payload ->> 'secType' <> 'CASH'
where r.venue = 'ibkr-tws' and r.kind = 'position'
