-- grain: one trade at an exchange of ccxt's, with a reason where it cannot be read; key: account, fill_id
-- What ccxt read out of the exchange's row is read here, as the shapes differ by exchange; where it
-- is known to read wrong, the row itself (`info`). ccxt has a fee that was paid as positive.
with rows as (
  select
    r.account,
    r.id,
    x.exchange,
    from_json(
      r.payload,
      '{"id": "VARCHAR", "order": "VARCHAR", "symbol": "VARCHAR", "side": "VARCHAR",
        "amount": "VARCHAR", "price": "VARCHAR", "timestamp": "VARCHAR",
        "fees": [{"cost": "VARCHAR", "currency": "VARCHAR"}]}'
    ) as p,
    from_json(
      r.payload -> 'info',
      '{"fee": "VARCHAR", "positionSide": "VARCHAR", "seq": "VARCHAR", "trade_id": "VARCHAR",
        "margin": "VARCHAR", "execType": "VARCHAR", "ordertype": "VARCHAR",
        "liquidation": "VARCHAR", "orderLinkId": "VARCHAR", "cloid": "VARCHAR",
        "clientOrderId": "VARCHAR", "clientOid": "VARCHAR", "startPosition": "VARCHAR"}'
    ) as info,
    r.fetched_at,
    a.currency as account_currency
  from raw.staged_records r
  join config.exchanges x on x.account = r.account and x.exchange = r.venue
  join config.accounts a on a.account = r.account
  where r.kind = 'trade'
),

texts as (
  select
    account,
    id as fill_id,
    nullif(p.symbol, '') as instrument,
    p.side as side,
    case lower(info.positionSide) when 'long' then 'long' when 'short' then 'short' else 'net' end
      as position_side,
    exact(p.amount) as size,
    exact(p.price) as price,
    coalesce(len(p.fees), 0) as fees,
    -- hyperliquid's fee has the builder's part in it; ccxt adds that part to it once more.
    -exact(case when exchange = 'hyperliquid' then info.fee else p.fees[1].cost end) as fee,
    nullif(p.fees[1].currency, '') as fee_currency,
    utc_ms(p.timestamp) as "at",
    -- hyperliquid's ids are hashes; the position before a fill says which of an instant came first.
    coalesce(
      case when exchange = 'hyperliquid' and p.side in ('buy', 'sell') then
        (case p.side when 'buy' then 1 else -1 end * 1000000 * try_cast(info.startPosition as decimal(18, 6)))::hugeint
      end,
      try_cast(info.seq as hugeint), try_cast(info.trade_id as hugeint), try_cast(p.id as hugeint), 0
    ) as seq,
    nullif(p.order, '') as order_id,
    coalesce(
      nullif(info.orderLinkId, ''), nullif(info.cloid, ''), nullif(info.clientOrderId, ''),
      nullif(info.clientOid, '')
    ) as order_tag,
    nullif(p.id, '') as trade_id,
    coalesce(exact(info.margin) <> 0, false) as is_on_margin,
    coalesce(info.execType, 'Trade') <> 'Trade' or info.liquidation is not null
    or coalesce(contains(info.ordertype, 'liquidation'), false) as is_system,
    fetched_at,
    account_currency
  from rows
)

select
  t.* exclude (fetched_at, fees),
  i.instrument_kind,
  i.multiplier,
  i.is_inverse,
  i.currency,
  i.base_currency,
  nullif(
    concat_ws(
      '; ',
      case when t.trade_id is null then 'the trade has no id' end,
      case
        when t.instrument is null then 'the trade has no symbol'
        when i.instrument is null then 'the exchange does not list ' || t.instrument || ' any more: what a contract of it is worth is not known'
      end,
      case
        when t."at" is null or t."at" > t.fetched_at + interval 1 day
          then 'timestamp is not a time at which anything was traded'
      end,
      case when coalesce(t.side, '') not in ('buy', 'sell') then 'side is neither buy nor sell' end,
      case when coalesce(t.size, 0) <= 0 then 'amount is not a quantity' end,
      case when t.price is null then 'price is not a price' end,
      case when i.is_inverse and t.price <= 0 then 'an inverse contract at no price' end,
      case when t.fee is null then 'fee is missing or unreadable: unknown, and never 0' end,
      case when t.fees > 1 then 'the fee is in several currencies' end,
      case when t.fee <> 0 and t.fee_currency is null then 'the currency of the fee is missing' end,
      case
        when t.fee_currency = i.base_currency and -t.fee >= t.size
          then 'the fee is all that was bought'
      end,
      case when i.instrument is not null and i.multiplier is null then 'contractSize is missing' end,
      case
        when i.is_contract and not i.is_linear and not i.is_inverse
          then 'the contract is neither linear nor inverse'
      end,
      case
        when i.instrument is not null and coalesce(i.currency, '') = ''
          then 'the settlement currency is not known'
      end
    ),
    ''
  ) as reason
from texts t
left join staging.ccxt_instruments i on i.account = t.account and i.instrument = t.instrument
