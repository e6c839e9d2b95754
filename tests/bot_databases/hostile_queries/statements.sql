each: attach 'x.db' | attach ':memory:' as x | attach '{canary}' as x (type sqlite) | attach 'http://127.0.0.1:1/x.db' | detach memory | copy bot.trades to '{spill}/out.csv' | copy (select 1) to '{spill}/out.parquet' (format parquet) | copy bot.trades from '{canary}' | export database '{spill}/out' | import database '{spill}' | install httpfs | load httpfs | install spatial from community | force install sqlite | update extensions | update extensions (httpfs) | load '{canary}' | copy from database memory to x
{each}
---
each: create table x as select 1 | create view v as select 1 | create or replace view bot.trades as select 1 | create macro exact(x) as 1 | create or replace macro main.exact(x) as 1 | create schema s | create sequence s | create type t as enum ('a') | create temp table t as select 1 | create index i on bot.trades (id) | create secret s (type s3, key_id 'x') | create persistent secret s (type s3) | create or replace table bot.trades as select 1 | create function f() as 1 | create unique index i on bot.trades (id) | create trigger t after insert on bot.trades begin select 1 end
{each}
---
each: insert into bot.trades values (1) | update bot.trades set id = 1 | delete from bot.trades | truncate bot.trades | merge into bot.trades using bot.trades t on true when matched then delete | drop table bot.trades | drop schema bot cascade | alter table bot.trades add column x int | alter table bot.trades rename to y | drop macro exact | drop secret s | comment on table bot.trades is 'x' | insert into bot.trades values (1) returning id | delete from bot.trades returning * | update bot.trades set id = 1 returning *
{each}
---
each: begin | commit | rollback | begin transaction read only | abort | checkpoint | force checkpoint | vacuum | analyze | explain select 1 | explain analyze select 1 | prepare p as select 1 | execute p | deallocate p | call pragma_version() | call duckdb_settings() | kill 1
{each}
---
each: pragma version | pragma database_list | pragma show_tables | pragma table_info('bot.trades') | pragma memory_limit = '100GB' | pragma enable_profiling | pragma database_size | pragma functions | pragma import_database('{spill}') | pragma copy_database('a', 'b') | pragma json_execute_serialized_sql('x') | pragma disable_optimizer | pragma force_checkpoint
{each}
---
each: insert into bot.trades values (1) returning * | delete from bot.trades returning * | update bot.trades set id = 1 returning *
with a as ({each}) select * from a
---
each: drop table bot.trades | attach 'x.db' | set threads = 1 | select 1 | copy (select 1) to '{spill}/out.csv' | create table x as select 1
select 1; {each}
---
each: drop table bot.trades | copy (select 1) to '{spill}/out.csv' | install httpfs
{each}; select 1
---
each: select 1 /* ; */; drop table bot.trades | select 1 -- \n; drop table bot.trades | /* bot.trades */ drop table bot.trades | select '/*'; drop table bot.trades --*/ | select $$;$$; drop table bot.trades | ;;select 1;;drop table bot.trades | select e'\''; drop table bot.trades --' | /* /* nested */ */ drop table bot.trades
{each}
---
each: query | json_execute_serialized_sql | query_table | sql_auto_complete | execute | eval
from: {each}('select * from duckdb_settings()')
---
each: json_serialize_sql('select 1') | json_serialize_plan('select 1') | json_deserialize_sql('{}') | query('select 1') | json_execute_serialized_sql('{}') | invoke(lambda x: x, 1) | __internal_barrier(1) | __cast(1) | combine(1, 2) | finalize(1) | to_aggregate_state(1) | create_sort_key(1, 'asc') | can_cast_implicitly(1, 2) | st_geomfromgeojson('{}') | hive_partition_component('a', 'b') | write_blob('x') | http_get('http://127.0.0.1:1') | curl('x') | load_extension('x') | readfile('{canary}') | writefile('x', 'y') | pg_read_file('{canary}') | lo_import('{canary}') | load_file('{canary}') | system('id') | shell('id') | dblink('x', 'y') | sys_exec('id') | xp_cmdshell('id') | utl_http('x') | copy_to('x') | read_text('{canary}') | glob('{canary}')
expr: {each}
---
each: selec 1 | select | ; | -- nothing | /* unterminated | select 'unterminated | select "unterminated | select (1 | select 1) | ) | select $$x | { | select [1 | with a as | from | values | 1 | select from where | ' | "
{each}
---
