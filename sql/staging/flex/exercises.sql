-- grain: one fill of an exercise or assignment that delivers stock; key: account, kind, id
-- Two legs, an option at no price and the stock at its strike, at the same instant and in quantities
-- that fit: what the option had cost, or brought, goes into what the stock costs. `to_instrument` is
-- null for the stock's leg. What settles in cash has a price of its own, and is a fill like any other.
with options as (
  select
    account, kind, id, f.at, session_date, instrument, currency, strike,
    coalesce(underlying_conid, '') as underlying_conid,
    coalesce(underlying, '') as underlying,
    (case when put_call = 'P' then sign(qty) else -sign(qty) end)::integer as side,
    abs(try_cast(qty as decimal(19, 4))) * try_cast(multiplier as decimal(19, 4)) as delivered
  from staging.flex_parsed_fills f
  where verdict = 'fill' and category in ('OPT', 'WAR', 'IOPT') and price = 0
    and put_call in ('P', 'C') and strike is not null and multiplier is not null
    and list_has_any(notes, ['A', 'Ex'])
),

stocks as (
  select account, kind, id, f.at, session_date, symbol, instrument, currency, price,
    coalesce(conid, '') as conid, sign(qty)::integer as side, abs(qty) as delivered
  from staging.flex_parsed_fills f
  where verdict = 'fill' and category = 'STK' and list_has_any(notes, ['A', 'Ex'])
),

legs as (
  select
    o.account, o.kind, o.id, s.instrument as to_instrument, s.at, s.side, s.price, o.delivered,
    true as is_option
  from options o
  join (select distinct * exclude (kind, id, delivered) from stocks) s
    on s.account = o.account and s.session_date = o.session_date and s.at = o.at
    and s.currency = o.currency and s.side = o.side and s.price = o.strike
    and (s.conid = o.underlying_conid and s.conid <> '' or s.symbol = o.underlying)
  union all
  select account, kind, id, instrument, s.at, side, price, delivered, false
  from stocks s
),

named as (
  select
    *,
    concat_ws('/', to_instrument, l.at, side, price) as exercise_id,
    sum(case when is_option then delivered else -delivered end) over exercise = 0 as is_whole
  from legs l
  window exercise as (partition by account, to_instrument, l.at, side, price)
)

select account, kind, id, exercise_id, case when is_option then to_instrument end as to_instrument
from named
where is_whole
