-- What hummingbot realised: by its executors (V2), or by each fill where it has none.
-- Grain: one row an executor that closed, a position that is held apart, or a fill. Key: trade_id.
-- requires: tradefill(market, symbol, base_asset, quote_asset, timestamp, order_id, trade_type)
-- requires: tradefill(price, amount, trade_fee, exchange_trade_id)
-- requires: order(id)
-- optional: tradefill(trade_fee_in_quote, position); order(exchange_order_id)
-- optional: executors(id, timestamp, close_timestamp, config, net_pnl_quote, cum_fees_quote)
-- optional: executors(filled_amount_quote)
-- optional: position(timestamp, controller_id, market, trading_pair, side, realized_pnl_quote)
--
-- Numbers of type BIGINT are millionths (since 2021), all others are what they say.
--
-- Executors: pnl is net_pnl_quote, with the fees of both sides. One without a side of its own
-- (arbitrage) is long where it buys. What an executor leaves behind is held as a position, of which
-- the newest row counts: pnl is its realized_pnl_quote, which has no fees in it.
--
-- Fills: hummingbot's history adds up what was realised and every fee when it is paid, so each fill
-- is a row: gross is what it closed at average cost, pnl is gross and the fee of the fill itself.
-- Such a bot costs_booked = "when_paid". What is closed is nothing (qty 0) where a fill only opens.
-- A fee in another token than the quote's is left out where hummingbot could not convert it: fee is
-- null then, and pnl is without it, as shown. Funding never enters.
with flat_fees as (
  select
    market,
    order_id,
    exchange_trade_id,
    quote_asset,
    unnest(json_extract(trade_fee, '$.flat_fees[*]')) as flat
  from bot.tradefill
),

flat_fee_sums as (
  select
    market,
    order_id,
    exchange_trade_id,
    bool_or(exact_product(flat ->> '$.amount') <> 0) as is_charged,
    whole_sum(case when flat ->> '$.token' = quote_asset then exact_product(flat ->> '$.amount') end)
      as in_quote,
    coalesce(
      sum(exact_product(flat ->> '$.amount')) filter (where flat ->> '$.token' = quote_asset), 0
    ) as known_in_quote
  from flat_fees
  group by market, order_id, exchange_trade_id
),

fills as (
  select
    f.market || '/' || f.symbol || '/' || f.order_id || '/' || f.exchange_trade_id as trade_id,
    f.market || ' ' || f.symbol || ' ' || case
      when f.position = 'OPEN' then if(upper(f.trade_type) = 'BUY', 'long', 'short')
      when f.position = 'CLOSE' then if(upper(f.trade_type) = 'BUY', 'short', 'long')
      else 'net'
    end as book,
    instrument_of_pair(f.market, f.symbol) as instrument,
    instant(f.timestamp) as filled_at,
    if(upper(f.trade_type) = 'BUY', 1, -1) as sign,
    exact_product(f.amount, if(typeof(f.amount) = 'BIGINT', 0.000001, 1)) as qty,
    exact_product(f.price, if(typeof(f.price) = 'BIGINT', 0.000001, 1)) as price,
    exact_product(
      f.trade_fee_in_quote, if(typeof(f.trade_fee_in_quote) = 'BIGINT', 0.000001, 1)
    ) as stored_fee,
    coalesce(exact_product(f.trade_fee ->> '$.percent'), 0) as fee_ratio,
    coalesce(s.is_charged, false) or fee_ratio <> 0 as is_charged,
    if(s.market is null, 0, s.in_quote) as flat_fee,
    coalesce(s.known_in_quote, 0) as known_flat_fee,
    nullif(o.exchange_order_id, '') as exchange_order_id
  from bot.tradefill as f
  left join flat_fee_sums as s
    on
      f.market = s.market
      and f.order_id = s.order_id
      and f.exchange_trade_id = s.exchange_trade_id
  left join bot."order" as o on f.order_id = o.id
  where not contains(f.market, 'paper_trade')
),

books as (
  select
    list(trade_id order by filled_at, trade_id) as trade_ids,
    average_cost(
      list(exact_product(qty, sign) order by filled_at, trade_id),
      list(exact_product(qty, price) order by filled_at, trade_id)
    ) as closings
  from fills
  group by book
),

closings as (
  select
    unnest(trade_ids) as trade_id,
    unnest(closings) as closing
  from books
),

from_fills as (
  select
    f.trade_id,
    f.instrument,
    case
      when c.closing.closed > 0 then if(f.sign > 0, 'short', 'long')
      else if(f.sign > 0, 'long', 'short')
    end as side,
    c.closing.closed as qty,
    null::timestamp as opened_at,
    f.filled_at as closed_at,
    null as entry_price,
    if(c.closing.closed > 0, f.price, null) as exit_price,
    c.closing.gross as gross,
    case
      when f.stored_fee is null then -(exact_product(f.qty, f.price, f.fee_ratio) + f.flat_fee)
      when f.stored_fee <> 0 or not f.is_charged then -f.stored_fee
    end as fee,
    c.closing.gross - coalesce(
      f.stored_fee, exact_product(f.qty, f.price, f.fee_ratio) + f.known_flat_fee
    ) as pnl,
    if(f.exchange_order_id is null, null, [f.exchange_order_id]) as order_ids
  from fills as f
  inner join closings as c on f.trade_id = c.trade_id
  where not exists (select 1 from bot.executors)
),

executors as (
  select
    id as trade_id,
    coalesce(config ->> '$.connector_name', config ->> '$.buying_market.connector_name') as market,
    coalesce(config ->> '$.trading_pair', config ->> '$.buying_market.trading_pair') as symbol,
    config ->> '$.side' as side,
    instant(timestamp) as opened_at,
    instant(close_timestamp) as closed_at,
    -exact_product(cum_fees_quote) as fee,
    exact_product(net_pnl_quote) as pnl
  from bot.executors
  where instant(close_timestamp) is not null and exact_product(filled_amount_quote) <> 0
),

held as (
  select
    'position/' || controller_id || '/' || market || '/' || trading_pair || '/' || side
      as trade_id,
    market,
    trading_pair as symbol,
    side,
    null::timestamp as opened_at,
    instant(timestamp) as closed_at,
    null::decimal(38, 18) as fee,
    exact_product(realized_pnl_quote, if(typeof(realized_pnl_quote) = 'BIGINT', 0.000001, 1))
      as pnl
  from bot.position
  qualify
    row_number() over (
      partition by controller_id, market, trading_pair, side order by instant(timestamp) desc
    ) = 1
),

from_executors as (
  select
    trade_id,
    instrument_of_pair(market, symbol) as instrument,
    if(upper(side) in ('2', 'SELL', 'SHORT', 'TRADETYPE.SELL'), 'short', 'long') as side,
    null as qty,
    opened_at,
    closed_at,
    null as entry_price,
    null as exit_price,
    case when starts_with(trade_id, 'position/') then pnl else pnl - fee end as gross,
    fee,
    pnl,
    null::varchar[] as order_ids
  from (
    select * from executors
    union all
    select * from held
    where pnl <> 0
  )
  where not contains(market, 'paper_trade')
),

realised as (
  select * from from_fills
  union all
  select * from from_executors
)

select
  trade_id,
  instrument,
  side,
  qty,
  opened_at,
  closed_at,
  entry_price,
  exit_price,
  gross,
  fee,
  null as funding,
  pnl,
  order_ids
from realised;
