-- grain: one time as IBKR wrote it somewhere; key: text
-- The query's settings decide the format, so it is detected. With no zone it is New York time, and
-- an hour that exists twice, or not at all, there gives no instant: both offsets are tried, and the
-- one that reads back as written must be the only one.
with rows as (
  select payload
  from raw.tonight
  where venue = 'ibkr-flex'
    and kind in (
      'Trade', 'TradeConfirm', 'CashTransaction', 'CorporateAction', 'FlexStatement',
      'ConversionRate', 'StatementOfFundsLine', 'CashReportCurrency', 'ChangeInNAV',
      'EquitySummaryByReportDateInBase', 'TransactionTax', 'Transfer'
    )
),

texts as (
  select payload ->> 'dateTime' as text from rows
  union
  select payload ->> 'tradeDate' from rows
  union
  select payload ->> 'reportDate' from rows
  union
  select unnest([payload ->> 'date', payload ->> 'fromDate', payload ->> 'toDate']) from rows
  union
  select (payload ->> 'tradeDate') || ';' || (payload ->> 'tradeTime') from rows
  union
  select payload ->> '$.attributes.whenGenerated' from rows
),

parts as (
  select
    text,
    regexp_extract(
      trim(text),
      '^(\d{8}|\d{4}-\d{2}-\d{2})(?:(?:;|T| |, ?)(\d{6}|\d{2}:\d{2}:\d{2})(?: (EST|EDT))?)?$',
      ['day', 'time', 'zone']
    ) as found
  from texts
  where trim(text) not in ('', '--', ';')
),

locals as (
  select
    text,
    try_strptime(replace(found.day, '-', ''), '%Y%m%d')::date as day,
    nullif(found.zone, '') as zone,
    case when found.time <> '' then try_strptime(
      replace(found.day, '-', '') || replace(found.time, ':', ''), '%Y%m%d%H%M%S'
    ) end as local_at,
    found.time <> '' and local_at is null as is_no_time
  from parts
),

instants as (
  select
    *,
    day::timestamp as local_midnight,
    local_at + interval 4 hour as summer_at,
    local_at + interval 5 hour as winter_at,
    timezone('America/New_York', timezone('UTC', summer_at)) = local_at as is_summer,
    timezone('America/New_York', timezone('UTC', winter_at)) = local_at as is_winter
  from locals
)

select
  text,
  day,
  local_at,
  case
    when zone = 'EDT' then summer_at
    when zone = 'EST' then winter_at
    when is_summer and not is_winter then summer_at
    when is_winter and not is_summer then winter_at
  end as at,
  -- Midnight is never in an hour that New York skips or repeats.
  timezone('UTC', timezone('America/New_York', local_midnight)) as midnight_at,
  case
    when day is null or is_no_time then text || ' is not a date or time that can be read'
    when zone is null and is_summer and is_winter then text || ' exists twice in New York'
    when zone is null and not is_summer and not is_winter then text || ' does not exist in New York'
  end as flaw
from instants
