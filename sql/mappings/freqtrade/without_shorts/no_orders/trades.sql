-- The closed trades of freqtrade before it kept orders (2019): spot, long only.
-- Grain: one row a closed trade. Key: trade_id.
-- requires: trades(id, exchange, pair, is_open, fee_open, fee_close, open_rate, close_rate, amount)
-- requires: trades(open_date, close_date)
-- watermark: trades(close_date) text
-- unit: trades(id)
--
-- Before it kept orders freqtrade never came back to a closed trade; an open one has no close_date.
--
-- These books hold no profit in money. freqtrade worked it out when it was asked:
--   open = amount * open_rate * (1 + fee_open), close = amount * close_rate * (1 - fee_close),
--   profit = close - open.
-- That is gross + fee below, each product exact, then rounded to 18 places. Funding did not exist.
with closed as (
  select
    id::varchar as trade_id,
    case
      when lower(exchange) not in ('okx', 'okex', 'myokx') then pair
      when contains(pair, ':') then replace(split_part(pair, ':', 1), '/', '-') || '-SWAP'
      else replace(pair, '/', '-')
    end as instrument,
    exact_product(amount) as qty,
    open_date as opened_at,
    close_date as closed_at,
    open_rate as entry_price,
    close_rate as exit_price,
    exact_product(amount, close_rate) - exact_product(amount, open_rate) as gross,
    -(exact_product(amount, open_rate, fee_open) + exact_product(amount, close_rate, fee_close))
      as fee
  from bot.trades
  where not is_open::boolean
)

select
  trade_id,
  instrument,
  'long' as side,
  qty,
  opened_at,
  closed_at,
  entry_price,
  exit_price,
  gross,
  fee,
  null as funding,
  gross + fee as pnl,
  null as order_ids
from closed;
