-- The few functions that every room uses. Money and quantities are decimal(38, 18): twenty digits
-- before the point, eighteen after. Times are timestamp, and UTC.

-- exact(text): the number that the text writes, or null where it is blank, is no number, has digits
-- past the eighteenth place, or fifteen and more before the point, so that sums of many still fit.
-- Never a rounded one.
create or replace macro exact(text) as
case
  when regexp_full_match(text, '[+-]?0*[0-9]{1,15}(\.[0-9]{0,18}0*)?') then try_cast(text as decimal(38, 18))
  when regexp_full_match(text, '[+-]?[0-9](\.[0-9]{1,17})?[eE][+-]?[0-9]{1,2}')
    and length(regexp_extract(text, '\.([0-9]+)', 1))
    - regexp_extract(text, '[eE]([+-]?[0-9]+)', 1)::integer between -14 and 18
    then try_cast(text as decimal(38, 18))
end;

-- is_unreadable(text): something is written there, and exact() cannot read it.
create or replace macro is_unreadable(text) as
coalesce(text, '') <> '' and exact(text) is null;

-- is_okx_name(text): it may be an instrument or a currency of OKX's. False for no text at all, and for
-- what JSON writes otherwise: a number, a list, an object, true.
create or replace macro is_okx_name(text) as
coalesce(not regexp_matches(text, '^(\[.*|\{.*|true|false|[0-9.]*)$'), false);

-- is_okx_trade(text): it is the id of a trade of OKX's, a whole number; 0 stands for no trade.
create or replace macro is_okx_trade(text) as
coalesce(regexp_full_match(text, '-?[0-9]+') and text <> '0', false);

-- utc_ms(text): the instant of a text of milliseconds since 1970, or null.
create or replace macro utc_ms(text) as
case when regexp_full_match(text, '[0-9]{1,15}') then make_timestamp(try_cast(text as bigint) * 1000) end;

-- instant(number): the instant of a bot's number of seconds, or of milliseconds, since 1970, to the
-- microsecond; null for 0 and for what is no number.
create or replace macro instant(number) as
case
  when nullif(abs(exact(number::varchar)), 0) < 100000000000
    then make_timestamp((exact(number::varchar)::decimal(30, 6) * 1000000)::bigint)
  when abs(exact(number::varchar)) < 100000000000000
    then make_timestamp((exact(number::varchar)::decimal(30, 3) * 1000)::bigint)
end;

-- instrument_of_pair(market, pair): what OKX, or ccxt elsewhere, calls a pair that a bot writes with a
-- dash (BTC-USDT), on a market whose name says whether it is perpetual.
create or replace macro instrument_of_pair(market, pair) as
case
  when starts_with(lower(market), 'okx')
    then pair || if(contains(lower(market), 'perpetual'), '-SWAP', '')
  when not contains(lower(market), 'perpetual') then replace(pair, '-', '/')
  when starts_with(lower(market), 'hyperliquid') then split_part(pair, '-', 1) || '/USDC:USDC'
  else replace(pair, '-', '/') || ':' || split_part(pair, '-', 2)
end;

-- is_okx_time(at, fetched_at): not before the venue opened, and not after the answer came. False,
-- and never null, for no time at all.
create or replace macro is_okx_time(happened_at, fetched_at) as
coalesce(
  happened_at >= timestamp '2017-01-01' and happened_at < fetched_at + interval 1 day, false
);

-- execution_family(exec_id): IBKR's id of an execution without what a correction of it changes, the
-- number after the last period; correction(exec_id): that number, 0 where there is none.
create or replace macro execution_family(exec_id) as regexp_replace(exec_id, '\.[0-9]{1,9}$', '');
create or replace macro correction(exec_id) as
coalesce(try_cast(regexp_extract(exec_id, '\.([0-9]{1,9})$', 1) as integer), 0);

-- flex_day(payload): the day of a row of a Flex statement as it is written, or null.
create or replace macro flex_day(payload) as
try_strptime(
  left(replace(trim(coalesce(
    nullif(payload ->> 'tradeDate', ''), nullif(payload ->> 'reportDate', ''),
    nullif(payload ->> 'dateTime', ''), nullif(payload ->> 'date', '')
  )), '-', ''), 8),
  '%Y%m%d'
)::date;

-- zone_minutes(zone): how many minutes east of UTC an abbreviation of IBKR's stands for; null for one
-- that is not known, or that stands for different times in different parts of the world.
create or replace macro zone_minutes(zone) as
case
  when zone in ('HST') then -600
  when zone in ('AKST') then -540
  when zone in ('AKDT') then -480
  when zone in ('MST', 'PDT') then -420
  when zone in ('MDT') then -360
  when zone in ('EST', 'CDT') then -300
  when zone in ('EDT') then -240
  when zone in ('NST') then -210
  when zone in ('NDT') then -150
  when zone in ('UTC', 'GMT', 'WET') then 0
  when zone in ('BST', 'WEST', 'CET', 'MET') then 60
  when zone in ('CEST', 'MEST', 'EET', 'SAST') then 120
  when zone in ('EEST', 'MSK') then 180
  when zone in ('PKT') then 300
  when zone in ('WIB', 'ICT') then 420
  when zone in ('HKT', 'SGT', 'MYT', 'AWST') then 480
  when zone in ('JST', 'KST') then 540
  when zone in ('ACST') then 570
  when zone in ('AEST') then 600
  when zone in ('ACDT') then 630
  when zone in ('AEDT') then 660
  when zone in ('NZST') then 720
  when zone in ('NZDT') then 780
end;

-- whole_sum(amount): the sum, or null where any part of it is unknown. A plain sum() skips nulls,
-- and would read what is unknown as 0.
create or replace macro whole_sum(amount) as
case when count(*) = count(amount) then coalesce(sum(amount), 0)::decimal(38, 18) end;

-- at_rate(amount, rate): an amount at a rate, to 18 places; null where either is unknown, or where
-- the product has more digits than a table holds. What has few digits is multiplied at once; of the
-- rest wholes and fractions are multiplied apart, which takes twenty times as long.
create or replace macro at_rate(amount, rate) as
case
  when rate = 1 then amount
  when try_cast(amount as decimal(19, 9)) = amount and try_cast(rate as decimal(19, 9)) = rate
    then try_cast(amount as decimal(19, 9)) * try_cast(rate as decimal(19, 9))
  else (
    try_cast(try_cast(trunc(amount) as decimal(19, 0)) * try_cast(trunc(rate) as decimal(19, 0)) as decimal(38, 18))
    + try_cast(trunc(amount) as decimal(19, 0)) * try_cast(rate - trunc(rate) as decimal(19, 18))
    + try_cast(amount - trunc(amount) as decimal(19, 18)) * try_cast(trunc(rate) as decimal(19, 0))
    + (try_cast(amount - trunc(amount) as decimal(19, 18)) * try_cast(rate - trunc(rate) as decimal(19, 18)))::decimal(38, 18)
  )
end::decimal(38, 18);

-- coin_value(amount, price): what an amount of dollars is in coin at a price, cut off at the 18th
-- place. Null where there is no price, where the amount has more than four places or the price more
-- than eight, or where either is larger than any contract's.
create or replace macro coin_value(amount, price) as
case
  when try_cast(amount as decimal(16, 4)) = amount and try_cast(price as decimal(20, 8)) = price
    then try_cast(
      try(
        try_cast(try_cast(amount as decimal(16, 4)) * 10000 as hugeint) * 10000000000000000000000
        // try_cast(nullif(try_cast(price as decimal(20, 8)), 0) * 100000000 as hugeint)
      ) as decimal(38, 0)
    ) * 0.000000000000000001
end;

-- plain(amount): the amount as people write it, without zeros at its end.
create or replace macro plain(amount) as
regexp_replace(regexp_replace(amount::varchar, '(\.[0-9]*?)0+$', '\1'), '\.$', '');

-- flex_section(kind): the section of a Flex statement whose rows move cash of that kind (the kinds of
-- staging/flex/cash.sql), and what to tick there.
create or replace macro flex_section(kind) as
case
  when kind in ('dividend', 'tax', 'interest', 'fee', 'transfer')
    then 'the section Cash Transactions (tick all of its types there)'
  when kind in ('trade', 'commission', 'transaction tax', 'conversion') then 'the section Trades'
  when kind = 'action' then 'the section Corporate Actions'
  else 'another section (Trades, Cash Transactions, Corporate Actions)'
end;

-- rate_remedy(venue): what to do where a rate is not known.
create or replace macro rate_remedy(venue) as
case
  when venue = 'ibkr-flex'
    then ': tick FX Rate To Base in the Flex query''s sections, and add its section Conversion Rates'
  else ''
end;

-- likeness(name, other): how alike two instruments' names are, from 0 to 1, whichever marks stand
-- between their parts: BTC/USDT:USDT is like BTC-USDT-SWAP.
create or replace macro likeness(name, other) as
jaro_winkler_similarity(
  upper(translate(name, '/:_. ', '-----')), upper(translate(other, '/:_. ', '-----'))
);
