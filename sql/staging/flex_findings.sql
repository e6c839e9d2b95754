-- grain: one record of IBKR's that is understood, but not yet valued, and why; key: all columns
-- What happened before the account's window is not its concern. What restates other rows is held
-- against those of its own day: nights stage whole days, and not always the days beside them.
with days as (
  select
    r.*,
    coalesce(
      nullif(left(replace(trim(r.payload ->> 'tradeDate'), '-', ''), 8), ''),
      nullif(left(replace(trim(r.payload ->> 'reportDate'), '-', ''), 8), ''),
      nullif(left(replace(trim(r.payload ->> 'dateTime'), '-', ''), 8), '')
    ) as day
  from raw.tonight r
  where r.venue = 'ibkr-flex'
),

fills as (
  select f.*
  from staging.flex_parsed_fills f
  join config.accounts a using (account)
  where f.verdict in ('fill', 'conversion')
    and (f.session_date is null or f.session_date >= a.first_date)
)

select account, kind as source_kind, id as source_id, session_date, instrument,
  'FX conversions (CASH rows) are not valued' as reason
from fills
where verdict = 'conversion' and qty <> 0
union
select account, kind, id, session_date, instrument,
  'assignment/exercise moves premium into the stock''s cost; not valued yet'
from fills
where verdict = 'fill' and list_has_any(notes, ['A', 'Ex'])
union
select account, kind, id, session_date, instrument,
  'taxes are in ' || currency || ', the commission in ' || fee_currency || ': they are not added up'
from fills
where taxes <> 0 and fee_currency <> currency
union
select account, kind, id, session_date, instrument, 'proceeds are not -quantity * price * multiplier for this ' || category
from fills
where category in ('FUND', 'BOND') and not coalesce(abs(proceeds + value) <= 0.01, false)
union
select account, kind, id, session_date, instrument, 'netCash is not proceeds + commission + taxes: a charge is missing here'
from fills
where category in ('STK', 'OPT', 'FOP', 'WAR', 'IOPT') and verdict = 'fill'
  and fee_currency = currency and abs(net_cash - proceeds - fee) > 0.01
union
select r.account, r.kind, r.id, c.day, coalesce(trim(r.payload ->> 'symbol'), ''),
  'corporate action not valued: ' || coalesce(
    nullif(r.payload ->> 'type', ''), nullif(r.payload ->> 'actionDescription', ''),
    nullif(r.payload ->> 'description', ''), 'of no type'
  )
from raw.tonight r
join config.accounts a on a.venue = r.venue and a.account = r.account
left join staging.flex_clock c
  on c.text = coalesce(nullif(r.payload ->> 'reportDate', ''), r.payload ->> 'dateTime')
where r.venue = 'ibkr-flex' and r.kind = 'CorporateAction'
  and (c.day is null or c.day >= a.first_date)
union
select r.account, r.kind, r.id, null, '',
  'the statements'' base currency is ' || (r.payload ->> 'currency')
  || ', not the account''s: rates to the account''s currency are not known'
from raw.tonight r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.venue = 'ibkr-flex' and r.kind = 'AccountInformation'
  and nullif(r.payload ->> 'currency', '') <> a.currency
union
select account, kind, id, session_date, instrument,
  'fxRateToBase of ' || currency || ' is not 1: the statements'' base currency is another'
from fills
where currency = account_currency and exact(rate_text) <> 1
union
-- An order restates its executions: where none came, it is all that there is, and nothing is known.
select r.account, r.kind, r.id, null, coalesce(trim(r.payload ->> 'symbol'), ''),
  'an order came without its executions: tick Executions in the Flex query''s section Trades'
from days r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.payload ->> 'levelOfDetail' = 'ORDER'
  and not exists (
    select 1
    from days e
    where e.account = r.account and e.day = r.day and e.kind in ('Trade', 'TradeConfirm')
      and e.payload ->> 'levelOfDetail' = 'EXECUTION'
      and coalesce(e.payload ->> 'ibOrderID', e.payload ->> 'orderID', '')
      = coalesce(r.payload ->> 'ibOrderID', r.payload ->> 'orderID', '')
      and trim(e.payload ->> 'symbol') = trim(r.payload ->> 'symbol')
  )
union
select r.account, r.kind, r.id, null, coalesce(trim(r.payload ->> 'symbol'), ''),
  'cash of type "' || (r.payload ->> 'type')
  || '" came only as a summary: tick Detail in the Flex query''s section Cash Transactions'
from days r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.kind = 'CashTransaction' and r.payload ->> 'levelOfDetail' = 'SUMMARY'
  and not exists (
    select 1
    from days e
    where e.account = r.account and e.day = r.day and e.kind = r.kind
      and e.payload ->> 'levelOfDetail' = 'DETAIL'
      and e.payload ->> 'type' = r.payload ->> 'type'
      and e.payload ->> 'currency' = r.payload ->> 'currency'
  )
union
select r.account, r.kind, r.id, null, '',
  'rows of account ' || (r.payload ->> 'accountId') || ' stand in its statements'
from raw.tonight r
where r.venue = 'ibkr-flex' and r.kind in ('Trade', 'TradeConfirm', 'CashTransaction')
  and coalesce(r.payload ->> 'accountId', '') not in ('', '-')
  and not exists (
    select 1
    from staging.flex_statements s
    where s.account = r.account
      -- The commodities segment of an account has an F at the end of its number.
      and (r.payload ->> 'accountId') in (s.broker_account, s.broker_account || 'F')
  )
