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

-- utc_ms(text): the instant of a text of milliseconds since 1970, or null.
create or replace macro utc_ms(text) as
case when regexp_full_match(text, '[0-9]{1,15}') then make_timestamp(try_cast(text as bigint) * 1000) end;

-- is_okx_time(at, fetched_at): not before the venue opened, and not after the answer came. False,
-- and never null, for no time at all.
create or replace macro is_okx_time(happened_at, fetched_at) as
coalesce(
  happened_at >= timestamp '2017-01-01' and happened_at < fetched_at + interval 1 day, false
);

-- whole_sum(amount): the sum, or null where any part of it is unknown. A plain sum() skips nulls,
-- and would read what is unknown as 0.
create or replace macro whole_sum(amount) as
case when count(*) = count(amount) then coalesce(sum(amount), 0)::decimal(38, 18) end;

-- plain(amount): the amount as people write it, without zeros at its end.
create or replace macro plain(amount) as
regexp_replace(regexp_replace(amount::varchar, '(\.[0-9]*?)0+$', '\1'), '\.$', '');
