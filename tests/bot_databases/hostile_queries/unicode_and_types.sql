each: ｄuckdb_settings | duckdb＿settings | "duckdb_settings​" | "bot.trades" | "bot" | "ｂｏｔ".trades | "‮bot".trades | bot."trades​" | bоt.trades | bot."" | bot."‮trades" | "BOT "."trades" | bot . "trades" . x . y | main."bot.trades" | "memory"."bot"."trades"
from: {each}
---
each: ｒead_text('{canary}') | read＿text('{canary}') | "read_text​"('{canary}') | "‮glob"('{canary}') | "read_tеxt"('{canary}') | glоb('*')
from: {each}
---
each: "now​"() | nоw() | ｎow() | "random "() | "Ｒandom"() | "version​"() | "current_ſetting"('threads') | "ＧＥＴＥＮＶ"('{env}')
expr: {each}
---
each: {'a': 1} | [1]::integer[1] | 1.5::double | true | 'x'::blob | interval 1 day | date '2026-01-01' | map {'a': 1} | time '12:00'
select {each} as wrong, * from bot.trades
---
each: 1.5::double | 'nan'::double | true | 'not a number' | '1e999' | [1] | {'a': 1} | date '2026-01-01' | interval 1 day | repeat('9', 40) | 'Infinity' | '-inf' | '0x10' | '１２' | repeat('9', 5000) | uuid '00000000-0000-0000-0000-000000000000' | '1'::bit | '\xAA'::blob
pnl: {each}
---
each: date '2026-01-01' | 1 | 'yesterday' | 'infinity'::timestamp | '-infinity'::timestamp | '2026-02-30' | time '12:00' | 1.5 | true | '2026-01-01T00:00:00+99' | [1] | '９９９９-01-01' | '99999-01-01 00:00' | interval 1 day
closed_at: {each}
---
each: 'x'::nosuchtype | 'x'::enum('a') | cast(1 as main.nosuch) | 1::integer[2] | 'a'::nosuch.type | collate(1) | 'x' collate nosuch
expr: {each}
---
each: select 1 | select * from bot.trades | select null | values (1) | from bot.trades | select 1 as trade_id | select trade_id from bot.trades | select count(*) from bot.trades | table bot.trades | select distinct id from bot.trades
{each}
---
