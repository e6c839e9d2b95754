-- grain: one statement of one period; key: account, statement_id
-- A later statement of the same period and sections has taken an earlier one's place in raw.
-- `is_latest` marks the newest of the account's statements that state positions.
select
  r.account,
  r.id as statement_id,
  (r.payload ->> 'from_date')::date as from_date,
  (r.payload ->> 'to_date')::date as to_date,
  r.payload ->> '$.attributes.accountId' as broker_account,
  c.at as generated_at,
  list_contains((r.payload -> 'sections')::varchar[], 'Trades') as has_trades,
  list_contains((r.payload -> 'sections')::varchar[], 'OpenPositions') as has_positions,
  list_contains((r.payload -> 'sections')::varchar[], 'StmtFunds') as has_funds,
  list_contains((r.payload -> 'sections')::varchar[], 'CorporateActions') as has_actions,
  list_contains((r.payload -> 'sections')::varchar[], 'Transfers') as has_transfers,
  (r.payload -> 'positions')::varchar[] as positions,
  row_number() over (
    partition by r.account, list_contains((r.payload -> 'sections')::varchar[], 'OpenPositions')
    order by (r.payload ->> 'to_date')::date desc, c.at desc nulls last, r.id
  ) = 1 and has_positions as is_latest
from raw.staged_records r
left join staging.flex_clock c on c.text = r.payload ->> '$.attributes.whenGenerated'
where r.venue = 'ibkr-flex' and r.kind = 'FlexStatement'
