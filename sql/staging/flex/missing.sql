-- grain: one row of a statement that lacks a field which it needs; key: account, source_kind, source_id, field
-- The kind of a row decides which fields it needs (`needed_of` of staging/flex/fields.sql). Rows
-- that restate others need none; nor do positions of any statement but the latest.
with restating as (
  select account, kind, id from staging.flex_parsed_fills where verdict = 'restated'
  union all
  select account, 'CashTransaction', id from staging.flex_parsed_ledger where verdict = 'restated'
  union all
  select account, 'CorporateAction', id from staging.flex_parsed_actions where verdict = 'restated'
  union all
  select account, 'OpenPosition', id from staging.flex_parsed_positions where is_restated
),

rows as (
  select
    r.account,
    r.kind,
    r.id,
    r.payload,
    json_keys(r.payload) as there,
    a.currency as account_currency,
    a.first_date,
    coalesce(upper(r.payload ->> 'assetCategory'), '') as category,
    list_transform(
      string_split(coalesce(r.payload ->> 'notes', r.payload ->> 'code', ''), ';'), lambda x: trim(x)
    ) as notes
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  semi join staging.flex_fields f on f.kind = r.kind
  anti join restating s on s.account = r.account and s.kind = r.kind and s.id = r.id
  where
    r.venue = 'ibkr-flex'
    and (
      r.kind <> 'OpenPosition'
      or (r.account, r.id) in (
        select account, unnest(positions) from staging.flex_statements where is_latest
      )
    )
),

told as (
  select
    account,
    kind,
    id,
    first_date,
    there,
    try_strptime(
      left(replace(trim(coalesce(
        nullif(payload ->> 'tradeDate', ''), nullif(payload ->> 'reportDate', ''),
        nullif(payload ->> 'dateTime', ''), payload ->> 'toDate'
      )), '-', ''), 8),
      '%Y%m%d'
    )::date as day,
    list_filter(
      [
        'each row', 'positions', 'bots', 'tagged bots',
        case when category <> 'STK' then 'all but stocks' end,
        case when category in ('OPT', 'FOP', 'WAR', 'IOPT') and list_has_any(notes, ['A', 'Ex'])
          then 'exercises' end,
        case when category in ('OPT', 'FOP', 'WAR', 'IOPT') and list_has_any(notes, ['A', 'Ex'])
          and coalesce(payload ->> 'underlyingConid', '') = ''
          then 'exercises by symbol' end,
        case when payload ->> 'transactionType' = 'TradeCancel' or list_contains(notes, 'Ca')
          then 'cancels' end,
        case when nullif(payload ->> 'currency', '') <> account_currency then 'another currency' end,
        case when exact(payload ->> 'amount') <> 0
          and payload ->> 'activityCode' in ('BUY', 'SELL', 'SHORT', 'COVER', 'ASSIGN', 'EXE', 'EXP')
          then 'lines of trades' end
      ],
      lambda x: x is not null
    ) as needs
  from rows
),

-- All rows of a section have the same fields, so there are few shapes of rows.
shapes as (
  select distinct kind, there, needs from told
),

lacking as (
  select s.kind, s.there, s.needs, f.section, f.field, f.box, f.needed_of
  from shapes s
  join staging.flex_fields f on f.kind = s.kind and list_contains(s.needs, f.needed_of)
  where not list_contains(s.there, f.field)
    and not coalesce(list_contains(s.there, f.or_else), false)
)

select t.account, t.kind as source_kind, t.id as source_id, t.day as session_date,
  l.section, l.field, l.box, l.needed_of
from told t
join lacking l on l.kind = t.kind and l.there = t.there and l.needs = t.needs
where coalesce(t.day >= t.first_date, true)
