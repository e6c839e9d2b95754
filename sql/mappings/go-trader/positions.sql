-- What go-trader believes it holds, short positions negative.
-- Grain: one row an instrument. Key: instrument.
--
-- The average price of what several strategies hold of one instrument is not in the books: null.
with held as (
  select
    case
      when s.platform = 'okx'
      then replace(p.symbol, '/', '-') || case
        when s.type in ('perps', 'futures') and not contains(p.symbol, '/') then '-USDT-SWAP'
        else ''
      end
      when s.platform = 'hyperliquid' and s.type = 'perps' and not contains(p.symbol, '/')
      then p.symbol || '/USDC:USDC'
      else p.symbol
    end as instrument,
    exact_product(p.quantity, if(lower(p.side) = 'short', -1, 1)) as qty,
    exact_product(p.avg_cost) as price
  from bot.positions as p
  left join bot.strategies as s on p.strategy_id = s.id
)

select
  instrument,
  whole_sum(qty) as qty,
  if(count(*) = 1, any_value(price), null) as avg_price
from held
group by instrument;
