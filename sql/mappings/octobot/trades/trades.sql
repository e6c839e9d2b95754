-- What OctoBot's trades realised, where it keeps no transactions.
-- Grain: one row a trade, which is an order that was filled. Key: trade_id.
-- requires: all_trades(origin_value)
-- optional: all_trades(fees_amount, fees_currency)
--
-- Trades are kept, and no profit: gross is what each closed at average cost, and pnl is gross and
-- the fee of the trade itself, paid when it is paid, so such a bot costs_booked = "when_paid". What is
-- closed is nothing (qty 0) where a trade only opens. As in OctoBot's own figure, a fee in the coin
-- that was traded counts at the trade's price, and one in a third coin not at all: fee is null then.
with trades as (
  select
    coalesce(origin_value ->> '$.exchange_trade_id', origin_value ->> '$.order_id',
      origin_value ->> '$.id') as trade_id,
    origin_value ->> '$.symbol' as symbol,
    coalesce(origin_value ->> '$.exchange_id', origin_value ->> '$.order_id') as order_id,
    instant(origin_value ->> '$.timestamp') as traded_at,
    if(lower(origin_value ->> '$.side') = 'buy', 1, -1) as sign,
    exact_product(origin_value ->> '$.amount') as qty,
    exact_product(origin_value ->> '$.price') as price,
    coalesce(
      exact_product(origin_value ->> '$.fee.cost'), exact_product(fees_amount)
    ) as fee_amount,
    coalesce(origin_value ->> '$.fee.currency', fees_currency) as fee_currency,
    case
      when fee_amount = 0 then fee_amount
      when fee_currency = split_part(split_part(symbol, '/', 2), ':', 1) then fee_amount
      when fee_currency = split_part(symbol, '/', 1) then exact_product(fee_amount, price)
    end as fee
  from bot.all_trades
  where
    exact_product(origin_value ->> '$.amount') > 0
    and lower(origin_value ->> '$.status') not in ('canceled', 'cancelled', 'open', 'rejected')
),

books as (
  select
    list(trade_id order by traded_at, trade_id) as trade_ids,
    average_cost(
      list(exact_product(qty, sign) order by traded_at, trade_id),
      list(exact_product(qty, price) order by traded_at, trade_id)
    ) as closings
  from trades
  group by symbol
),

closings as (
  select
    unnest(trade_ids) as trade_id,
    unnest(closings) as closing
  from books
)

select
  t.trade_id,
  t.symbol as instrument,
  case
    when c.closing.closed > 0 then if(t.sign > 0, 'short', 'long')
    else if(t.sign > 0, 'long', 'short')
  end as side,
  c.closing.closed as qty,
  null as opened_at,
  t.traded_at as closed_at,
  null as entry_price,
  if(c.closing.closed > 0, t.price, null) as exit_price,
  c.closing.gross as gross,
  -t.fee as fee,
  null as funding,
  c.closing.gross - coalesce(t.fee, 0) as pnl,
  if(t.order_id is null, null, [t.order_id]) as order_ids
from trades as t
inner join closings as c on t.trade_id = c.trade_id;
