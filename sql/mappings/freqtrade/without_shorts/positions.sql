-- What freqtrade believes it holds: its open trades, which could only be long.
-- Grain: one row an instrument. Key: instrument.
--
-- The average price of several open trades on one instrument is not in the books: null.
with open_trades as (
  select
    case
      when lower(exchange) not in ('okx', 'okex', 'myokx') then pair
      when contains(pair, ':') then replace(split_part(pair, ':', 1), '/', '-') || '-SWAP'
      else replace(pair, '/', '-')
    end as instrument,
    exact_product(amount) as qty,
    exact_product(open_rate) as open_rate
  from bot.trades
  where is_open::boolean
)

select
  instrument,
  case when count(qty) = count(*) then sum(qty) end as qty,
  case when count(*) = 1 then any_value(open_rate) end as avg_price
from open_trades
group by instrument;
