-- grain: one time as TWS wrote it somewhere; key: account, text
-- `yyyymmdd hh:mm:ss Zone`; without a zone it is the account's `timezone`, with a hyphen it is UTC.
-- A zone is a region (Asia/Hong_Kong, Hongkong) or an abbreviation with one meaning (AEST).
-- An hour that exists twice in its zone, or not at all, gives no instant: the instant must read back
-- as written, and none that lies half an hour or an hour beside it may.
with texts as (
  select distinct r.account, r.payload ->> 'time' as text, t.timezone
  from raw.staged_records r
  join config.tws t on t.account = r.account
  where r.venue = 'ibkr-tws' and r.kind = 'execution'
),

parts as (
  select
    account,
    text,
    timezone,
    regexp_extract(
      trim(text), '^(\d{8})( +|-)(\d{2}:\d{2}:\d{2})(?: +(\S+))?$', ['day', 'gap', 'clock', 'zone']
    ) as found
  from texts
),

locals as (
  select
    account,
    text,
    try_strptime(found.day || ' ' || found.clock, '%Y%m%d %H:%M:%S') as local_at,
    case when found.gap = '-' and found.zone = '' then 'UTC' else coalesce(nullif(found.zone, ''), timezone) end
      as zone,
    found.gap = '-' and found.zone <> '' as is_twofold,
    zone_minutes(zone) as minutes,
    minutes is not null or exists (
      from pg_timezone_names() n
      where n.name = zone and (found.zone = '' or not regexp_full_match(n.name, '[A-Z]+'))
    ) as is_known
  from parts
),

instants as (
  select
    *,
    case when is_known and minutes is null then zone else 'UTC' end as safe_zone,
    timezone('UTC', timezone(safe_zone, local_at)) as instant
  from locals
),

told as (
  select
    *,
    timezone(safe_zone, timezone('UTC', instant)) = local_at as exists_there,
    list_bool_or([
      timezone(safe_zone, timezone('UTC', instant + shift * interval 1 minute)) = local_at
      for shift in [-60, -30, 30, 60]
    ]) as exists_twice
  from instants
)

select
  account,
  text,
  case when is_known and not is_twofold and exists_there and not exists_twice
    then instant - coalesce(minutes, 0) * interval 1 minute end as at,
  case
    when local_at is null or is_twofold then coalesce(text, 'nothing') || ' is not a time that can be read'
    when not is_known then 'the time zone ' || zone || ' is not known'
    when not exists_there then text || ' does not exist in ' || zone
    when exists_twice then text || ' exists twice in ' || zone
  end as flaw
from told
