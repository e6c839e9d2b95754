-- A log of the builds before records had a time of their own: each gets the one that its connector
-- would give it today, and the log loses its primary key, which took longer with every night.
begin;
create table raw.timed as
select
  * exclude (payload),
  payload,
  case
    when venue = 'okx' and kind in ('fill', 'bill') then utc_ms(payload::json ->> 'ts')
    when venue = 'okx' and kind = 'position-history' then utc_ms(payload::json ->> 'uTime')
    when venue = 'ibkr-flex' and kind not in ('OpenPosition', 'AccountInformation', 'FlexStatement')
      then try_strptime(
        left(replace(coalesce(
          nullif(payload::json ->> 'tradeDate', ''), nullif(payload::json ->> 'reportDate', ''),
          nullif(payload::json ->> 'dateTime', ''), nullif(payload::json ->> 'date', '')
        ), '-', ''), 8),
        '%Y%m%d'
      )
  end as "at"
from raw.records;
drop view if exists raw.current;
drop view if exists raw.latest;
drop table raw.records;
create table raw.records (
  venue varchar not null,
  account varchar not null,
  kind varchar not null,
  id varchar not null,
  version integer not null,
  payload varchar,
  sha256 varchar,
  fetched_at timestamp not null,
  run varchar not null,
  "at" timestamp
);
insert into raw.records by name select * from raw.timed;
drop table raw.timed;
commit;
