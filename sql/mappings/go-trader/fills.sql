-- What go-trader believes was filled.
-- Grain: one row a trade, which is an order that was filled. Key: (instrument, fill_id).
--
-- The venue's ids of fills are not in the books: fill_id is go-trader's own number.
select
  t.rowid::varchar as fill_id,
  nullif(t.exchange_order_id, '') as order_id,
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
  lower(t.side) as side,
  exact_product(t.quantity) as qty,
  exact_product(t.price) as price,
  if(
    exact_product(t.exchange_fee) = 0 and coalesce(t.fee_source, '') = '',
    null,
    -exact_product(t.exchange_fee)
  ) as fee,
  null as fee_currency,
  try_cast(t.timestamp as timestamptz) as "at"
from bot.trades as t
left join bot.strategies as s on t.strategy_id = s.id
where exact_product(t.quantity) > 0;
