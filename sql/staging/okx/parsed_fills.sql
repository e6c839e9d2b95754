-- grain: one fill as OKX gave it, with a reason where it cannot be read; key: account, fill_id
-- The key is billId: a tradeId repeats across instruments. Spot needs no contract value, and its
-- currencies stand in its name. What is paid in another currency than the account's is worth what
-- OKX's candle of its minute says.
with rows as (
  select
    r.account,
    r.id,
    -- The payload is parsed once, and not once a column.
    from_json(
      r.payload,
      '{"instId": "VARCHAR", "instType": "VARCHAR", "side": "VARCHAR", "posSide": "VARCHAR",
        "fillSz": "VARCHAR", "fillPx": "VARCHAR", "fee": "VARCHAR", "feeCcy": "VARCHAR",
        "ts": "VARCHAR", "ordId": "VARCHAR", "clOrdId": "VARCHAR", "tradeId": "VARCHAR",
        "fillPnl": "VARCHAR", "subType": "VARCHAR"}'
    ) as p,
    r.fetched_at,
    a.currency as account_currency
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  where r.venue = 'okx' and r.kind = 'fill'
),

texts as (
  select
    account,
    id as fill_id,
    p.instId as instrument,
    lower(p.instType) as instrument_kind,
    p.side as side,
    coalesce(nullif(p.posSide, ''), 'net') as position_side,
    exact(p.fillSz) as size,
    exact(p.fillPx) as price,
    exact(p.fee) as fee,
    nullif(p.feeCcy, '') as fee_currency,
    utc_ms(p.ts) as "at",
    try_cast(id as hugeint) as seq,
    nullif(p.ordId, '') as order_id,
    nullif(p.clOrdId, '') as order_tag,
    nullif(p.tradeId, '') as trade_id,
    exact(p.fillPnl) as broker_pnl,
    is_unreadable(p.fillPnl) as is_pnl_unreadable,
    coalesce(try_cast(p.subType as integer), 0) as sub_type,
    fetched_at,
    account_currency
  from rows
),

known as (
  select
    t.*,
    t.instrument_kind in ('spot', 'margin') as is_spot,
    case when is_spot then 1::decimal(38, 18) else i.multiplier end as multiplier,
    case when is_spot then false else i.is_inverse end as is_inverse,
    case when is_spot then split_part(t.instrument, '-', 2) else i.currency end as currency,
    case when is_spot then split_part(t.instrument, '-', 1) end as base_currency,
    i.instrument is not null as is_listed,
    i.reason as listed_reason,
    date_trunc('minute', t.at) as minute_at
  from texts t
  left join staging.okx_instruments i on i.account = t.account and i.instrument = t.instrument
),

rated as (
  select
    k.* exclude (minute_at),
    case when k.currency = k.account_currency then 1 else r.rate end::decimal(38, 18) as rate,
    case
      when k.fee_currency = k.account_currency then 1
      when k.fee_currency not in (k.currency, coalesce(k.base_currency, k.currency)) then f.rate
    end::decimal(38, 18) as fee_rate
  from known k
  left join staging.okx_rates r
    on r.account = k.account and r.currency = k.currency and r.minute_at = k.minute_at
  left join staging.okx_rates f
    on f.account = k.account and f.currency = k.fee_currency and f.minute_at = k.minute_at
)

select
  * exclude (fetched_at, is_pnl_unreadable, is_listed, listed_reason),
  nullif(
    concat_ws(
      '; ',
      case when not is_okx_name(instrument) then 'instId is not an instrument' end,
      case
        when coalesce(instrument_kind, '') not in ('spot', 'margin', 'swap', 'futures', 'option')
          then 'instType is not known'
      end,
      case when not is_okx_time("at", fetched_at) then 'ts is not a time at which OKX traded' end,
      case when seq is null then 'billId is not a number' end,
      case when coalesce(side, '') not in ('buy', 'sell') then 'side is neither buy nor sell' end,
      case when position_side not in ('net', 'long', 'short') then 'posSide is not known' end,
      case when coalesce(size, 0) <= 0 then 'fillSz is not a quantity' end,
      case when price is null then 'fillPx is not a price' end,
      case when is_inverse and price <= 0 then 'an inverse contract at no price' end,
      case when fee is null then 'fee is missing or unreadable: unknown, and never 0' end,
      case when fee <> 0 and not is_okx_name(fee_currency) then 'feeCcy is not a currency' end,
      case
        when fee_currency = base_currency and -fee >= size
          then 'the fee is all that was bought'
      end,
      case when is_pnl_unreadable then 'fillPnl is unreadable' end,
      case
        when is_spot or not is_okx_name(instrument) then null
        when not is_listed then 'no contract value is known for ' || instrument || ': OKX does not list it'
        when listed_reason is not null
          then 'OKX lists ' || instrument || ' in a way that recon cannot read: ' || listed_reason
        when multiplier is null then 'no contract value is known for ' || instrument
          || ': its ctVal or ctMult has more digits than recon keeps'
      end
    ),
    ''
  ) as reason
from rated
