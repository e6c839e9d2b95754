-- grain: what one unit of a currency was worth in the account's on a day; key: account, currency, day
-- From the statements' daily ConversionRates. Where they are to another currency than the account's,
-- nothing is known, and nothing is turned round: 1 / rate is no rate of theirs.
select
  r.account,
  upper(r.payload ->> 'fromCurrency') as currency,
  c.day,
  min(exact(r.payload ->> 'rate')) as rate
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
join staging.flex_clock c on c.text = r.payload ->> 'reportDate'
where
  r.venue = 'ibkr-flex' and r.kind = 'ConversionRate'
  and upper(r.payload ->> 'toCurrency') = a.currency
  and exact(r.payload ->> 'rate') > 0 and c.day is not null
group by all
-- Two statements that say otherwise of one day leave it unknown.
having count(distinct exact(r.payload ->> 'rate')) = 1
