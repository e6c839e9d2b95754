-- What passivbot believes it holds after its last fill, short ones negative.
-- Grain: one row an instrument. Key: instrument.
--
-- psize and pprice are worked out by passivbot itself, fill by fill. With a long and a short
-- position at once there is no one average price: null.
with latest as (
  select
    symbol,
    exact_product(
      abs(exact_product(psize)), if(lower(position_side) = 'short', -1, 1)
    ) as qty,
    exact_product(pprice) as price
  from bot.rows
  qualify
    row_number() over (
      partition by symbol, lower(position_side) order by exact_product(timestamp) desc, id desc
    ) = 1
)

select
  symbol as instrument,
  whole_sum(qty) as qty,
  if(count(*) = 1, any_value(price), null) as avg_price
from latest
where qty <> 0
group by symbol;
