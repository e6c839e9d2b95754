-- grain: one fill as OKX gave it, with a reason where it cannot be read; key: account, fill_id
-- The key is billId: a tradeId repeats across instruments. Spot needs no contract value, and its
-- currencies stand in its name.
with texts as (
  select
    r.account,
    r.id as fill_id,
    r.payload ->> 'instId' as instrument,
    lower(r.payload ->> 'instType') as instrument_kind,
    r.payload ->> 'side' as side,
    coalesce(nullif(r.payload ->> 'posSide', ''), 'net') as position_side,
    r.payload ->> 'fillSz' as size,
    r.payload ->> 'fillPx' as price,
    r.payload ->> 'fee' as fee,
    nullif(r.payload ->> 'feeCcy', '') as fee_currency,
    utc_ms(r.payload ->> 'ts') as "at",
    try_cast(r.id as hugeint) as seq,
    nullif(r.payload ->> 'ordId', '') as order_id,
    nullif(r.payload ->> 'clOrdId', '') as order_tag,
    nullif(r.payload ->> 'tradeId', '') as trade_id,
    r.payload ->> 'fillPnl' as broker_pnl,
    coalesce(try_cast(r.payload ->> 'subType' as integer), 0) as sub_type,
    r.fetched_at,
    a.currency as account_currency
  from raw.tonight r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  where r.venue = 'okx' and r.kind = 'fill'
),

known as (
  select
    t.*,
    t.instrument_kind in ('spot', 'margin') as is_spot,
    case when is_spot then 1::decimal(38, 18) else i.multiplier end as multiplier,
    case when is_spot then false else i.is_inverse end as is_inverse,
    case when is_spot then split_part(t.instrument, '-', 2) else i.currency end as currency,
    case when is_spot then split_part(t.instrument, '-', 1) end as base_currency
  from texts t
  left join staging.okx_instruments i on i.account = t.account and i.instrument = t.instrument
)

select
  * exclude (fetched_at),
  nullif(
    concat_ws(
      '; ',
      case when coalesce(instrument, '') = '' then 'instId is missing' end,
      case when coalesce(instrument_kind, '') = '' then 'instType is missing' end,
      case when not is_okx_time("at", fetched_at) then 'ts is not a time at which OKX traded' end,
      case when seq is null then 'billId is not a number' end,
      case when coalesce(side, '') not in ('buy', 'sell') then 'side is neither buy nor sell' end,
      case when position_side not in ('net', 'long', 'short') then 'posSide is not known' end,
      case when coalesce(exact(size), 0) <= 0 then 'fillSz is not a quantity' end,
      case when exact(price) is null then 'fillPx is not a price' end,
      case when is_inverse and exact(price) <= 0 then 'an inverse contract at no price' end,
      case when exact(fee) is null then 'fee is missing or unreadable: unknown, and never 0' end,
      case when exact(fee) <> 0 and fee_currency is null then 'feeCcy is missing' end,
      case
        when fee_currency = base_currency and -exact(fee) >= exact(size)
          then 'the fee is all that was bought'
      end,
      case when is_unreadable(broker_pnl) then 'fillPnl is unreadable' end,
      case when multiplier is null then 'no contract value is known for ' || instrument || ': OKX does not list it any more' end,
      case when coalesce(currency, '') = '' then 'the settlement currency is not known' end
    ),
    ''
  ) as reason
from known
