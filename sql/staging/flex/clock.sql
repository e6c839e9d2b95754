-- grain: one time as IBKR wrote it somewhere; key: text
-- The query's settings decide the format, so it is detected. A time without a zone is New York's. A
-- zone is an abbreviation (AEST) or a region (Asia/Hong_Kong, Hongkong); one that is not known, or that means
-- several, gives no instant. An hour that exists twice, or not at all, in its region gives none
-- either: the instant must read back as written, and none half an hour or an hour beside it may.
-- Of a time with a zone `day` is its date in New York, which can be held beside other dates.
with rows as (
  select payload
  from raw.staged_records
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
      '^(\d{8}|\d{4}-\d{2}-\d{2})(?:(?:;|T| |, ?)(\d{6}|\d{2}:\d{2}:\d{2})(?: (\S+))?)?$',
      ['day', 'time', 'zone']
    ) as found
  from texts
  where trim(text) not in ('', '--', ';')
),

locals as (
  select
    text,
    try_strptime(replace(found.day, '-', ''), '%Y%m%d')::date as local_day,
    case when found.time <> '' then try_strptime(
      replace(found.day, '-', '') || replace(found.time, ':', ''), '%Y%m%d%H%M%S'
    ) end as local_at,
    found.time <> '' and local_at is null as is_no_time,
    nullif(found.zone, '') as zone,
    zone_minutes(zone) as minutes,
    zone is not null and minutes is null and n.name is null as is_unknown,
    case when minutes is not null or is_unknown then 'UTC' else coalesce(zone, 'America/New_York') end
      as region
  from parts
  left join pg_timezone_names() n on n.name = found.zone and not regexp_full_match(n.name, '[A-Z]+')
),

instants as (
  select
    *,
    timezone('UTC', timezone(region, local_at)) as instant,
    timezone(region, timezone('UTC', instant)) = local_at as exists_there,
    list_bool_or([
      timezone(region, timezone('UTC', instant + shift * interval 1 minute)) = local_at
      for shift in [-60, -30, 30, 60]
    ]) as exists_twice,
    case
      when is_unknown or not exists_there or exists_twice then null
      else instant - coalesce(minutes, 0) * interval 1 minute
    end as read_at
  from locals
),

days as (
  select
    *,
    case
      when zone is null or read_at is null then local_day
      else timezone('America/New_York', timezone('UTC', read_at))::date
    end as day
  from instants
)

select
  text,
  day,
  local_at,
  read_at as at,
  -- Midnight is never in an hour that New York skips or repeats.
  timezone('UTC', timezone('America/New_York', day::timestamp)) as midnight_at,
  case
    when local_day is null or is_no_time then text || ' is not a date or time that can be read'
    when is_unknown then 'the time zone ' || zone || ' of ' || text || ' is not known, or means several: '
      || 'set the time zone of the IBKR account''s statements to New York''s'
    when not exists_there then text || ' does not exist in ' || if(zone is null, 'New York', zone)
    when exists_twice then text || ' exists twice in ' || if(zone is null, 'New York', zone)
  end as flaw
from days
