each: repeat('x', 10000000000) | repeat('x', 1000000000) | lpad('a', 2000000000, 'b') | rpad('a', 2000000000, 'b') | printf('%2000000000d', 1) | format('{:2000000000d}', 1) | range(10000000000) | generate_series(1, 10000000000) | list_resize([1], 10000000000) | replace(repeat('a', 1000000), 'a', repeat('b', 1000000)) | regexp_replace(repeat('a', 1000000), 'a', repeat('b', 1000000), 'g') | list_reduce(range(100000)::varchar[], lambda x, y: x || y || x) | bitstring('1', 2000000000) | array_to_string(range(100000000), ',') | to_json(range(100000000)) | list_sum(range(300000000)) | levenshtein(repeat('a', 50000), repeat('b', 50000)) | damerau_levenshtein(repeat('a', 50000), repeat('b', 50000)) | list_sort(list_transform(range(30000000), lambda x: hash(x)))[1] | (select string_agg(repeat('x', 100000), ',') from range(1000000)) | (select list(repeat('x', 1000)) from range(10000000)) | (select count(*) from range(100000000000)) | (select count(*) from bot.trades a, range(1000000) b, range(1000000) c where hash(b, c) = 3) | (select max(h) from (select hash(i) as h from range(200000000) r(i) order by h))
expr: {each}
---
from: range(100000000000)
---
from: generate_series(1, 100000000000)
---
from: range(1000000) as a, range(1000000) as b
---
from: (with recursive r as (select 1 as a union all select a from r) select * from r)
---
with recursive r as (select 1 as a union all select a + 1 from r) select a::varchar as trade_id, 'X' as instrument, 'long' as side, 1 as qty, null as opened_at, timestamp '2026-01-01' as closed_at, null as entry_price, null as exit_price, null as gross, null as fee, null as funding, 1 as pnl, null as order_ids from r
---
from: (with recursive r as (select 'x' as a union all select a || a from r) select * from r)
---
from: (with recursive r as (select 1 as a union all select r.a from r, r as s) select * from r)
---
