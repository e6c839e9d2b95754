-- The few functions that every room uses. Money and quantities are decimal(38, 18): twenty digits
-- before the point, eighteen after. Times are timestamp, and UTC.

-- exact(text): the number that the text writes, or null where it is blank, is no number, or has
-- digits that decimal(38, 18) cannot hold. Never a rounded one.
create or replace macro exact(text) as
case
  when regexp_full_match(text, '[+-]?[0-9]{1,20}(\.[0-9]{0,18}0*)?') then text::decimal(38, 18)
  when regexp_full_match(text, '[+-]?[0-9](\.[0-9]{1,17})?[eE][+-]?[0-9]{1,2}')
    and length(regexp_extract(text, '\.([0-9]+)', 1))
    - regexp_extract(text, '[eE]([+-]?[0-9]+)', 1)::integer between -19 and 18
    then try_cast(text as decimal(38, 18))
end;

-- is_unreadable(text): something is written there, and exact() cannot read it.
create or replace macro is_unreadable(text) as
coalesce(text, '') <> '' and exact(text) is null;

-- utc_ms(text): the instant of a text of milliseconds since 1970, or null.
create or replace macro utc_ms(text) as
case when regexp_full_match(text, '[0-9]{1,15}') then make_timestamp(text::bigint * 1000) end;

-- whole_sum(amount): the sum, or null where any part of it is unknown. A plain sum() skips nulls,
-- and would read what is unknown as 0.
create or replace macro whole_sum(amount) as
case when count(*) = count(amount) then coalesce(sum(amount), 0)::decimal(38, 18) end;
