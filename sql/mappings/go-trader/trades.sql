-- What go-trader closed.
-- Grain: one row a closing trade, which may close a part. Key: trade_id.
-- requires: trades(rowid, strategy_id, timestamp, symbol, position_id, side, quantity, price)
-- requires: trades(exchange_order_id, exchange_fee, is_close, realized_pnl)
-- requires: strategies(id, platform, type); positions(strategy_id, symbol, quantity, avg_cost, side)
-- optional: trades(pnl_gross, fee_source)
--
-- pnl is what go-trader adds up: realized_pnl, less the fee of the close where the flag pnl_gross
-- says that it is not in there yet. A fee of 0 without a source is one that go-trader never learned:
-- null. The fee of the entry is known to go-trader, and in no close. The orders that opened a
-- position stand with the first trade that closed a part of it. Funding is in another table, by
-- wallet and not by trade: null.
with all_trades as (
  select
    t.rowid as number,
    t.strategy_id,
    nullif(t.position_id, '') as position_id,
    t.is_close::integer = 1 as is_close,
    case
      when s.platform = 'okx'
      then replace(t.symbol, '/', '-') || case
        when s.type in ('perps', 'futures') and not contains(t.symbol, '/') then '-USDT-SWAP'
        else ''
      end
      when s.platform = 'hyperliquid' and s.type = 'perps' and not contains(t.symbol, '/')
      then t.symbol || '/USDC:USDC'
      else t.symbol
    end as instrument,
    case lower(t.side) when 'sell' then 'long' when 'buy' then 'short' end as closed_side,
    try_cast(t.timestamp as timestamptz) as traded_at,
    exact_product(t.quantity) as qty,
    exact_product(t.price) as price,
    coalesce(t.pnl_gross::varchar in ('1', 'true'), false) as is_gross,
    exact_product(t.realized_pnl) as realised,
    -exact_product(t.exchange_fee) as stored_fee,
    if(stored_fee = 0 and coalesce(t.fee_source, '') = '', null, stored_fee) as fee,
    nullif(t.exchange_order_id, '') as order_id
  from bot.trades as t
  left join bot.strategies as s on t.strategy_id = s.id
),

openings as (
  select
    strategy_id,
    position_id,
    min(traded_at) as opened_at,
    if(count(*) = 1, any_value(price), null) as entry_price,
    list(order_id order by number) filter (where order_id is not null) as order_ids
  from all_trades
  where not is_close and position_id is not null
  group by strategy_id, position_id
),

closings as (
  select
    *,
    if(is_gross, realised + stored_fee, realised) as pnl,
    row_number() over (partition by strategy_id, position_id order by number) = 1 as is_first
  from all_trades
  where is_close
)

select
  c.number::varchar as trade_id,
  c.instrument,
  c.closed_side as side,
  c.qty,
  o.opened_at,
  c.traded_at as closed_at,
  o.entry_price,
  c.price as exit_price,
  if(c.is_gross, c.realised, c.pnl - c.fee) as gross,
  c.fee,
  null as funding,
  c.pnl,
  nullif(
    list_concat(
      if(c.is_first, coalesce(o.order_ids, []), []), if(c.order_id is null, [], [c.order_id])
    ),
    []
  ) as order_ids
from closings as c
left join openings as o on c.strategy_id = o.strategy_id and c.position_id = o.position_id;
