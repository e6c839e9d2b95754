each: duckdb_settings | duckdb_tables | duckdb_columns | duckdb_databases | duckdb_schemas | duckdb_views | duckdb_functions | duckdb_secrets | duckdb_extensions | duckdb_logs | duckdb_log_contexts | duckdb_logs_parsed | duckdb_memory | duckdb_temporary_files | duckdb_variables | duckdb_prepared_statements | duckdb_types | duckdb_keywords | duckdb_optimizers | duckdb_sequences | duckdb_indexes | duckdb_constraints | duckdb_dependencies | duckdb_external_file_cache | duckdb_secret_types | duckdb_connection_count | duckdb_eviction_queues | duckdb_external_resources | duckdb_triggers | pragma_version | pragma_platform | pragma_user_agent | pragma_database_size | pragma_collations | pragma_metadata_info | pg_timezone_names | icu_calendar_names | test_all_types | test_vector_types | summary | checkpoint | force_checkpoint | enable_logging | disable_logging | truncate_duckdb_logs | enable_profiling | disable_profiling
from: {each}()
---
each: pragma_table_info | pragma_storage_info | pragma_show | query_table | seq_scan | arrow_scan | python_arrow_scan | pandas_scan | duckdb_table_sample | which_secret | repeat_row | histogram | histogram_values
from: {each}('bot.trades')
---
each: duckdb_tables | duckdb_settings | duckdb_views | duckdb_columns | sqlite_master | sqlite_schema | sqlite_temp_master | pragma_database_list | pg_tables | pg_class | pg_settings | pg_proc | pg_attribute | pg_namespace | pg_database | pg_prepared_statements | pg_views | duckdb_logs
from: {each}
---
each: tables | columns | schemata | views | character_sets | key_column_usage | table_constraints
from: information_schema.{each}
---
each: pg_catalog.pg_tables | pg_catalog.pg_class | pg_catalog.pg_settings | main.sqlite_master | main.duckdb_tables | memory.bot.trades | system.main.duckdb_settings | system.information_schema.tables | temp.main.sqlite_temp_master | memory.main.trades | main.trades | temp.trades
from: {each}
---
each: trades_as_given | fills_as_given | incoming | records | rows | books | warehouse | published | trades | fills | positions | before | now | schema | tables | snapshot | job | parser
from: {each}
---
each: raw.records | books.trades | told.by_session | known.trades | evidence.fills | staging.fills | config.databases | published.reports | other.trades
from: {each}
---
each: bot.nothing | bot.secrets | bot.keys | bot.api_keys | bot.sqlite_master
from: {each}
---
each: describe bot.trades | describe select 1 | summarize bot.trades | show tables | show all tables | show databases | show bot.trades | describe
{each}
---
each: describe bot.trades | show tables | show all tables | summarize bot.trades | show databases
from: ({each})
---
select * from (with duckdb_settings as (select 1) from duckdb_settings), duckdb_settings
---
select * from (with pg_class as (select 1) from pg_class), pg_class
---
with Sqlite_Master as (select 1) from sqlite_master
---
each: duckdb_settings | duckdb_tables | pragma_version | duckdb_secrets
expr: (select any_value(x::varchar) from {each}() as x)
---
