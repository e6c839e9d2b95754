each: current_setting('temp_directory') | current_setting('home_directory') | current_setting('secret_directory') | current_setting('memory_limit') | current_setting('duckdb_api') | getvariable('x') | getenv('{env}') | getenv('PATH') | version() | current_query() | current_query_id() | current_connection_id() | current_transaction_id() | txid_current() | current_database() | current_schema() | current_schemas(true) | current_user() | session_user() | in_search_path('memory', 'main') | pg_conf_load_time() | pg_postmaster_start_time() | inet_client_addr() | inet_server_port() | has_table_privilege('x', 'y') | obj_description(1, 'x') | get_block_size('memory') | write_log('x') | parse_duckdb_log_message('x', 'y') | nextval('s') | currval('s') | setval('s', 1) | sleep_ms(1) | pg_sleep(1) | stats(1) | vector_type(1) | setseed(0.5) | pg_get_viewdef(1) | pg_my_temp_schema() | shobj_description(1, 'x') | col_description(1, 1)
expr: {each}
---
each: random() | uuid() | gen_random_uuid() | uuidv4() | uuidv7() | now() | today() | get_current_timestamp() | get_current_time() | current_date() | current_localtime() | current_localtimestamp() | transaction_timestamp() | age(timestamp '2026-01-01') | ago(interval 1 day) | current_timestamp | current_date | current_time | localtime | localtimestamp | current_user | session_user | current_role | current_schema | current_catalog | current_localtimestamp | "current_timestamp" | CURRENT_TIMESTAMP
expr: {each}
---
each: system.main.now() | main.random() | system.main.current_setting('threads') | pg_catalog.version() | memory.main.exact('1') | pg_catalog.current_setting('threads')
expr: {each}
---
each: $1 | ? | $name | default
expr: {each}
---
each: set memory_limit = '100GB' | set lock_configuration = false | set enable_external_access = true | set temp_directory = '/' | reset all | set variable x = 1 | set session timezone = 'UTC' | set global threads = 100 | set schema = 'main' | use memory | reset memory_limit | set search_path = 'main' | set autoload_known_extensions = true
{each}
---
from: bot.trades tablesample 10%
---
from: bot.trades using sample 1 rows
---
from: bot.trades at (version => 1)
---
from: bot.trades at (timestamp => now())
---
