-- What hummingbot believes was filled.
-- Grain: one row a fill. Key: (instrument, fill_id).
--
-- fill_id is the venue's own; order_id is, too, where hummingbot kept it (exchange_order_id). The
-- fee is what it was worth in the quote when it was stored; null where that was not known.
select
  f.exchange_trade_id as fill_id,
  nullif(o.exchange_order_id, '') as order_id,
  instrument_of_pair(f.market, f.symbol) as instrument,
  lower(f.trade_type) as side,
  exact_product(f.amount, if(typeof(f.amount) = 'BIGINT', 0.000001, 1)) as qty,
  exact_product(f.price, if(typeof(f.price) = 'BIGINT', 0.000001, 1)) as price,
  -nullif(
    exact_product(
      f.trade_fee_in_quote, if(typeof(f.trade_fee_in_quote) = 'BIGINT', 0.000001, 1)
    ),
    0
  ) as fee,
  if(fee is null, null, f.quote_asset) as fee_currency,
  instant(f.timestamp) as "at"
from bot.tradefill as f
left join bot."order" as o on f.order_id = o.id
where not contains(f.market, 'paper_trade');
