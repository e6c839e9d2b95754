-- What hummingbot holds by its own fills, sold short negative.
-- Grain: one row an instrument. Key: instrument.
--
-- Its fills are all that it knows: what was held before the first of them is not in here, nor is the
-- average price.
with fills as (
  select
    instrument_of_pair(market, symbol) as instrument,
    exact_product(
      amount,
      if(typeof(amount) = 'BIGINT', 0.000001, 1),
      if(upper(trade_type) = 'BUY', 1, -1)
    ) as qty
  from bot.tradefill
  where not contains(market, 'paper_trade')
)

select
  instrument,
  whole_sum(qty) as qty,
  null as avg_price
from fills
group by instrument
having whole_sum(qty) is distinct from 0;
