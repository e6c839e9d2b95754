-- grain: one fill that carries fees of cancelled bookings, or a cancelled booking whose fees no fill
-- carries; key: account, kind, id, fee_currency
-- IBKR charges an order as a whole, and each row of it states what changed. A cancel often states 0:
-- what the cancelled booking had paid stays paid, and the rebooking states a difference to it, which
-- can be positive. So the fees that remain of a cancelled pair are a cost of what the order still
-- holds: of the rebookings of its trade; where there is none, of its order's other fills. They are
-- shared in proportion to quantity, and the parts sum to the whole. `is_carried` is false where
-- neither is left: then `kind` and `id` are the cancelled booking's own, and its fees are a cost at
-- once.
with remaining as (
  select account, instrument, fee_currency, pair_kind, pair_id,
    min(pair_trade_id) as trade_id, min(pair_order_id) as order_id, sum(fee)::decimal(38, 18) as fee
  from staging.flex_parsed_fills
  where verdict = 'cancelled'
  group by all
  having sum(fee) <> 0
),

fills as (
  select account, instrument, fee_currency, kind, id, trade_id, order_id, abs(qty) as size
  from staging.flex_parsed_fills
  where verdict = 'fill'
),

targets as (
  select r.account, r.pair_kind, r.pair_id, r.fee_currency, r.fee, f.kind, f.id, f.size,
    (f.trade_id is not distinct from r.trade_id) and r.trade_id is not null as is_rebooking
  from remaining r
  join fills f
    on f.account = r.account and f.instrument = r.instrument and f.fee_currency = r.fee_currency
    and (f.trade_id = r.trade_id or f.order_id = r.order_id)
  qualify
    is_rebooking = bool_or(is_rebooking) over (
      partition by r.account, r.pair_kind, r.pair_id, r.fee_currency
    )
),

-- `before` and `through` are shares of the fee, in units of 10^-12, of the fills before this one and
-- through this one. Of quantities too large to multiply the last fill takes all.
shares as (
  select
    *,
    row_number() over fills_in_order = count(*) over all_fills as is_last,
    sum(size) over fills_in_order as size_through,
    sum(size) over all_fills as size_in_all,
    case when size_in_all < 1000000000 and abs(fee) < 1000000000
      then trunc(abs(fee) * 1000000000000)::hugeint else 0 end as fee_units,
    coalesce(
      fee_units * trunc((size_through - size) * 1000000)::hugeint
      // nullif(trunc(size_in_all * 1000000)::hugeint, 0), 0
    ) as before,
    coalesce(
      fee_units * trunc(size_through * 1000000)::hugeint
      // nullif(trunc(size_in_all * 1000000)::hugeint, 0), 0
    ) as through
  from targets
  window
    all_fills as (partition by account, pair_kind, pair_id, fee_currency),
    fills_in_order as (
      partition by account, pair_kind, pair_id, fee_currency order by kind, id
      rows between unbounded preceding and current row
    )
),

parts as (
  select account, kind, id, fee_currency,
    case
      when is_last then fee - sign(fee) * before::decimal(38, 0) * 0.000000000001
      else sign(fee) * (through - before)::decimal(38, 0) * 0.000000000001
    end as fee
  from shares
)

select account, kind, id, fee_currency, true as is_carried, sum(fee)::decimal(38, 18) as fee
from parts
group by account, kind, id, fee_currency
union all
select account, pair_kind, pair_id, fee_currency, false, fee
from remaining r
anti join targets t using (account, pair_kind, pair_id, fee_currency)
