-- The audit log. Append-only: a second fetch of the same record adds nothing, a changed one adds a
-- version, and a record that has gone from its source adds a version without a payload.
create schema if not exists raw;

-- grain: one version of one record; key: venue, account, kind, id, version
-- `at` is about when it happened, for what happens once; null for what says how something stands.
create table if not exists raw.records (
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

-- grain: the latest version of a record without a time; key: venue, account, kind, id
create table if not exists raw.latest_state as
select venue, account, kind, id, version, payload, sha256, fetched_at
from raw.records
where "at" is null
qualify row_number() over (partition by venue, account, kind, id order by version desc) = 1;

-- grain: a version from which on a record has another time than before, or has one no more; key: all
-- Its earlier versions lie elsewhere in time, and must not be taken for the latest there.
create table if not exists raw.retimed (
  venue varchar not null, account varchar not null, kind varchar not null, id varchar not null,
  version integer not null
);

-- What each version of an IBKR record calls an instrument, by IBKR's number of it (conid). A conid
-- keeps its number through every change of symbol. Of a paper that was replaced a corporate action
-- writes .OLD after the symbol: until the day before it had the symbol itself.
create or replace view raw.namings as
select venue, account, kind, id, version, run, conid, name.symbol, name.day
from (
  select
    venue, account, kind, id, version, run,
    payload::json as j,
    nullif(nullif(trim(coalesce(j ->> 'conid', j ->> 'conId')), ''), '0') as conid,
    coalesce(upper(coalesce(j ->> 'assetCategory', j ->> 'secType')), '') as category,
    trim(case
      when venue = 'ibkr-flex' or category in ('STK', 'CFD') then j ->> 'symbol' else j ->> 'localSymbol'
    end) as written,
    coalesce(try_cast(split_part(id, '/', 1) as date), "at"::date, fetched_at::date) as written_on,
    unnest(case
      when ends_with(written, '.OLD') then [
        {'symbol': written, 'day': written_on},
        {'symbol': regexp_replace(written, '\.OLD$', ''), 'day': written_on - 1}
      ]
      else [{'symbol': written, 'day': written_on}]
    end) as name
  from raw.records
  where venue in ('ibkr-flex', 'ibkr-tws') and payload is not null
    and kind in ('Trade', 'TradeConfirm', 'CashTransaction', 'CorporateAction', 'OpenPosition', 'execution', 'position')
)
where conid is not null and name.symbol <> '' and category not in ('CASH', 'BAG');

-- grain: what the latest version of an IBKR record calls an instrument; key: venue, account, kind, id, symbol
create table if not exists raw.names as
select venue, account, kind, id, conid, symbol, day
from raw.namings
semi join (
  select venue, account, kind, id, max(version) as version
  from raw.records
  group by venue, account, kind, id
) using (venue, account, kind, id, version);

-- grain: one coverage statement of one fetch; key: run, venue, account, evidence, kind, served_from
create table if not exists raw.coverage (
  run varchar not null,
  venue varchar not null,
  account varchar not null,
  evidence varchar not null,
  kind varchar not null,
  status varchar not null,
  asked_from timestamp not null,
  asked_to timestamp not null,
  served_from timestamp not null,
  served_to timestamp not null,
  pages integer not null,
  rows integer not null,
  is_snapshot boolean not null,
  reason varchar not null,
  first_id varchar default '',
  last_id varchar default '',
  retries integer default 0,
  skew_ms integer
);

-- what coverage statements have come to say since
alter table raw.coverage add column if not exists first_id varchar default '';
alter table raw.coverage add column if not exists last_id varchar default '';
alter table raw.coverage add column if not exists retries integer default 0;
alter table raw.coverage add column if not exists skew_ms integer;

-- grain: what an account's tables were made from beside its records, by name; key: account
-- Where it is another tonight, everything of the account is made again.
create table if not exists raw.build_fingerprints (account varchar not null, fingerprint varchar not null);

-- grain: one record that is staged again because of something else than itself; key: all columns
-- `since` stands for every timed record of the account from then on, `id` for one alone.
create table if not exists raw.restage_requests (
  venue varchar not null, account varchar not null, since timestamp, kind varchar, id varchar
);

-- the latest version of every record, gone ones included: reads the whole log
create or replace view raw.latest as
select *
from raw.records
qualify row_number() over (partition by venue, account, kind, id order by version desc) = 1;

-- the latest version of every record that has not gone: reads the whole log
create or replace view raw.current as
select venue, account, kind, id, payload::json as payload, fetched_at
from raw.latest
where payload is not null;

-- What a night stages, and nothing else: what stands now, what this run brought, and what is staged
-- again. key: venue, account, kind, id. `is_restaged`: it may have been staged on an earlier night;
-- of an account that is staged from the beginning nothing is left of these.
create or replace view raw.to_stage as
select venue, account, kind, id, payload, fetched_at, null::timestamp as "at", true as is_restaged
from raw.latest_state
union all
select r.venue, r.account, r.kind, r.id, r.payload, r.fetched_at, r.at, r.version > 1 as is_restaged
from raw.records r
anti join raw.restage_requests g on g.venue = r.venue and g.account = r.account and g.since <= r.at
anti join raw.restage_requests p
  on p.venue = r.venue and p.account = r.account and p.kind = r.kind and p.id = r.id
where r.run = getvariable('run') and r.fetched_at >= getvariable('landed_at') and r.at is not null
union all
select venue, account, kind, id, payload, fetched_at, "at", is_restaged
from (
  select r.*, g.since >= timestamp '0002-01-01' as is_restaged
  from raw.records r
  join raw.restage_requests g on g.venue = r.venue and g.account = r.account and g.since <= r.at
  where r.at >= getvariable('again_since')
  union all
  select r.*, true as is_restaged
  from raw.records r
  semi join raw.restage_requests p
    on p.venue = r.venue and p.account = r.account and p.kind = r.kind and p.id = r.id
  anti join raw.restage_requests g on g.venue = r.venue and g.account = r.account and g.since <= r.at
  where r.at is not null
) r
anti join raw.retimed m
  on m.venue = r.venue and m.account = r.account and m.kind = r.kind and m.id = r.id
  and m.version > r.version
qualify row_number() over (partition by venue, account, kind, id order by version desc) = 1;

-- the records that a night stages, as they are now
create or replace view raw.staged_records as
select venue, account, kind, id, payload::json as payload, fetched_at
from raw.to_stage
where payload is not null;

-- the records of which an earlier night's rows are replaced tonight, gone ones included
create or replace view raw.restaged as
select account, kind, id
from raw.to_stage
where is_restaged and venue <> 'bot_database';

-- those of them that are staged as fills, orders, movements of cash or closed positions: on most nights none,
-- and nothing is looked for among what earlier nights have staged
create or replace view raw.revised as
select account, kind, id
from raw.restaged
where kind in (
  'fill', 'order', 'bill', 'position-history', 'Trade', 'TradeConfirm', 'CashTransaction', 'CorporateAction',
  'execution', 'trade', 'funding'
);

-- what stands as this run was told it, and as every run was for an account staged from the beginning
create or replace view raw.run_snapshots as
select r.venue, r.account, r.kind, r.id, r.payload::json as payload
from raw.records r
where
  r.run = getvariable('run') and r.fetched_at >= getvariable('landed_at')
  and r.at is null and r.payload is not null
union
select r.venue, r.account, r.kind, r.id, r.payload::json as payload
from raw.records r
semi join raw.restage_requests g
  on g.venue = r.venue and g.account = r.account and g.since < timestamp '0002-01-01'
where r.at is null and r.payload is not null;
