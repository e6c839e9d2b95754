-- The audit log. Append-only: a second fetch of the same record adds nothing, a changed one adds a
-- version, and a record that has gone from its source adds a version without a payload.
create schema if not exists raw;

-- grain: one version of one record; key: venue, account, kind, id, version
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
  primary key (venue, account, kind, id, version)
);

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
  reason varchar not null
);

-- the latest version of every record, gone ones included
create or replace view raw.latest as
select *
from raw.records
qualify row_number() over (partition by venue, account, kind, id order by version desc) = 1;

-- the latest version of every record that has not gone
create or replace view raw.current as
select venue, account, kind, id, payload::json as payload, fetched_at
from raw.latest
where payload is not null;
