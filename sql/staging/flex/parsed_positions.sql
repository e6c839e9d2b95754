-- grain: one OpenPosition row of the account's latest statement; key: account, id
-- The statement lists the rows it has: what an earlier version of it had is not a position.
with listed as (
  select account, to_date, generated_at, unnest(positions) as id
  from staging.flex_statements
  where is_latest
),

texts as (
  select
    l.account,
    l.id,
    l.to_date,
    coalesce(l.generated_at, s.end_at, l.to_date + interval 1 day) as taken_at,
    coalesce(upper(r.payload ->> 'levelOfDetail'), '') as level,
    coalesce(trim(r.payload ->> 'symbol'), '') as symbol,
    coalesce(n.instrument, y.instrument, trim(r.payload ->> 'symbol'), '') as instrument,
    coalesce(upper(r.payload ->> 'assetCategory'), '') as category,
    coalesce(r.payload ->> 'currency', '') as currency,
    exact(r.payload ->> 'position') as qty,
    exact(r.payload ->> 'multiplier') as multiplier,
    r.payload ->> 'markPrice' as mark_text,
    r.payload ->> 'costBasisPrice' as cost_text,
    exact(r.payload ->> 'markPrice') as mark_price,
    exact(r.payload ->> 'costBasisPrice') as avg_price
  from listed l
  join raw.staged_records r on r.account = l.account and r.id = l.id
  left join config.sessions s on s.account = l.account and s.session_date = l.to_date
  left join config.conids n on n.account = r.account and n.conid = trim(r.payload ->> 'conid')
  left join config.names y
    on y.account = r.account and coalesce(trim(r.payload ->> 'conid'), '') in ('', '0')
    and y.symbol = trim(r.payload ->> 'symbol')
    and l.to_date >= y.from_day and l.to_date < y.until_day
  where r.venue = 'ibkr-flex' and r.kind = 'OpenPosition'
)

select
  *,
  -- Lots restate what the summary of their instrument says, where the statement has one.
  level = 'LOT' and bool_or(level = 'SUMMARY') over (partition by account, instrument) as is_restated,
  nullif(concat_ws(
    '; ',
    case when level = ''
      then 'levelOfDetail is missing: add the field Level of Detail to the Flex query' end,
    case when level not in ('', 'SUMMARY', 'LOT')
      then 'levelOfDetail ' || level || ' is not known' end,
    case when symbol = '' then 'symbol is missing' end,
    case when currency = '' then 'currency is missing' end,
    case when qty is null then 'position is missing or unreadable' end,
    case when is_unreadable(mark_text) then 'markPrice is unreadable' end,
    case when is_unreadable(cost_text) then 'costBasisPrice is unreadable' end
  ), '') as reason
from texts
