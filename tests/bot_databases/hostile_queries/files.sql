each: read_csv | read_csv_auto | read_text | read_blob | read_json | read_json_auto | read_json_objects | read_json_objects_auto | read_ndjson | read_ndjson_auto | read_ndjson_objects | read_parquet | parquet_scan | parquet_metadata | parquet_schema | parquet_file_metadata | parquet_kv_metadata | parquet_full_metadata | read_duckdb | read_single_csv_file | read_single_json_file | read_single_parquet_file | sniff_csv | glob | sqlite_scan | postgres_scan | mysql_scan | iceberg_scan | delta_scan | st_read | read_xlsx | read_avro | read_lines
from: {each}('{canary}')
---
each: read_csv | read_text | read_blob | glob | read_json_auto | read_parquet
from: {each}('{spill}/*')
---
each: read_csv | read_text | read_blob | glob | read_json_auto
from: {each}('.tmp/*')
---
each: read_text | read_blob | glob | read_csv
from: {each}('/proc/self/environ')
---
each: read_text | read_blob | read_csv | glob
from: {each}(['{canary}', '/etc/passwd'])
---
each: '{canary}' | '.tmp/secret.csv' | '/etc/passwd' | '{spill}/*.csv' | 'secret.parquet' | 'secret.json' | 'warehouse.duckdb' | 'http://127.0.0.1:1/x.csv' | 's3://bucket/x.parquet' | 'file:///etc/passwd' | 'secret.csv.gz' | 'control.sqlite'
from: {each}
---
each: "{canary}" | "/etc/passwd" | ".tmp/secret.csv"
from: {each}
---
each: "{canary}" | "secret.csv" | "/etc/passwd" | "secret.parquet"
from: bot.{each}
---
each: read_text | read_csv | glob
expr: (select any_value(x) from (select * from {each}('{canary}')) as t(x))
---
each: read_text | glob | read_blob
with secret as (from {each}('{canary}')) select * from secret
---
each: read_text | glob | read_csv
from: bot.trades, lateral (select * from {each}('{canary}')) as t
---
each: READ_TEXT | Read_Csv | "read_text" | gLoB | "GLOB"
from: {each}('{canary}')
---
each: main.read_text | system.main.read_text | memory.main.glob | temp.main.read_csv
from: {each}('{canary}')
---
each: read_text | glob
from: bot.trades where exists (from {each}('{canary}'))
---
each: read_text | glob
from: bot.trades order by (select count(*) from {each}('{canary}'))
---
each: read_text | glob
from: bot.trades limit (select count(*) from {each}('{canary}'))
---
each: read_text | read_csv
from: (select 1) union all select * from {each}('{canary}')
---
each: read_text | glob
with recursive r as (select 1 union all select * from {each}('{canary}')) from r
---
expr: list_transform([1], lambda x: (select count(*) from read_text('{canary}')))[1]
---
expr: [x for x in [1] if exists (from read_text('{canary}'))][1]
---
expr: first_value((select 1 from glob('{canary}'))) over ()
---
expr: case when (select true from read_text('{canary}')) then 1 end
---
from: read_csv('{canary}', header = false, columns = {'a': 'varchar'})
---
with "{canary}" as (select 1) from "{canary}"
---
select * from (with "secret.csv" as (select 1) from "secret.csv"), "secret.csv"
---
