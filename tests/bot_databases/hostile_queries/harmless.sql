each: 1 | id | hash(1) | md5('x') | typeof(1) | "user" | list_sum([1, 2]) | json_extract('{"a": 1}', '$.a') | strftime(timestamp '2026-01-01', '%Y') | regexp_replace('a', 'a', 'b') | exact('1.5') | [x for x in [1, 2]][1] | date_trunc('day', timestamp '2026-01-01') | coalesce(null, 1) | struct_pack(a := 1).a | printf('%d', 1) | if(true, 1, 2) | row_number() over ()
expr: {each}
---
each: bot.trades | (from bot.trades) | bot."trades" | BOT.TRADES | "bot"."Trades" | (values (1)) as t(id) | range(3) as r(id) | unnest([1, 2]) as u(id) | bot.trades, bot.trades as other | bot.trades cross join range(2) as r(n) | (select id from bot.trades union all select 5)
from: {each}
---
