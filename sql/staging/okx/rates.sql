-- grain: one currency's rate into an account's in one minute; key: account, currency, minute_at
-- The close of OKX's own candle of that minute, of the pair either way round; the price as it stands
-- comes first. A minute without a candle has no rate: unknown, and never 0 or 1.
-- let: rates_from = select coalesce(min("at"), timestamp '9999-12-31') - interval 1 minute from raw.to_stage where venue = 'okx' and kind in ('fill', 'bill')
with closes as (
  select
    r.account,
    a.currency as account_currency,
    split_part(r.payload::json ->> 'instId', '-', 1) as base,
    split_part(r.payload::json ->> 'instId', '-', 2) as quote,
    utc_ms(r.payload::json ->> 'ts') as minute_at,
    exact(r.payload::json ->> 'c') as close_price,
    r.version
  from raw.records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  where
    r.venue = 'okx' and r.kind = 'candle' and r.payload is not null
    and r.at >= getvariable('rates_from')
),

told as (
  select account, base as currency, minute_at, close_price as rate, 2 * version as weight
  from closes
  where quote = account_currency
  union all
  select account, quote as currency, minute_at, coin_value(1::decimal(38, 18), close_price) as rate, -version as weight
  from closes
  where base = account_currency
)

select account, currency, minute_at, arg_max(rate, weight) as rate
from told
where rate > 0
group by account, currency, minute_at
