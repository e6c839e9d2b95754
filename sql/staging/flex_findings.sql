-- grain: one thing that is understood, but not yet valued; key: account, instrument, reason
-- What happened outside the account's window is not its concern.
with fills as (
  select f.*
  from staging.flex_parsed_fills f
  join config.accounts a using (account)
  where f.verdict in ('fill', 'conversion')
    and (f.session_date is null or f.session_date between a.first_date and a.last_date)
),

symbols as (
  select account, instrument, category, currency from fills where verdict = 'fill'
  union
  select account, instrument, category, currency
  from staging.flex_parsed_positions
  where reason is null
)

select account, instrument, 'FX conversions (CASH rows) are not valued' as reason
from fills
where verdict = 'conversion' and qty <> 0
union
select account, instrument,
  'assignment/exercise moves premium into the stock''s cost; not valued yet'
from fills
where verdict = 'fill' and list_has_any(notes, ['A', 'Ex'])
union
select account, instrument,
  'taxes are in ' || currency || ', the commission in ' || fee_currency || ': they are not added up'
from fills
where taxes <> 0 and fee_currency <> currency
union
select account, instrument, 'proceeds are not -quantity * price * multiplier for this ' || category
from fills
where category in ('FUND', 'BOND') and not coalesce(abs(proceeds + value) <= 0.01, false)
union
select account, instrument, 'netCash is not proceeds + commission + taxes: a charge is missing here'
from fills
where category in ('STK', 'OPT', 'FOP', 'WAR', 'IOPT') and verdict = 'fill'
  and fee_currency = currency and abs(net_cash - proceeds - fee) > 0.01
union
select account, instrument, 'one symbol for two instruments or currencies: not told apart yet'
from symbols
group by account, instrument
having count(distinct (category, currency)) > 1
union
select r.account, coalesce(trim(r.payload ->> 'symbol'), ''),
  'corporate action not valued: ' || coalesce(
    nullif(r.payload ->> 'type', ''), nullif(r.payload ->> 'actionDescription', ''),
    nullif(r.payload ->> 'description', ''), 'of no type'
  )
from raw.current r
join config.accounts a on a.venue = r.venue and a.account = r.account
left join staging.flex_clock c
  on c.text = coalesce(nullif(r.payload ->> 'reportDate', ''), r.payload ->> 'dateTime')
where r.venue = 'ibkr-flex' and r.kind = 'CorporateAction'
  and (c.day is null or c.day between a.first_date and a.last_date)
union
select r.account, '',
  'the statements'' base currency is ' || (r.payload ->> 'currency')
  || ', not the account''s: rates to the account''s currency are not known'
from raw.current r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.venue = 'ibkr-flex' and r.kind = 'AccountInformation'
  and nullif(r.payload ->> 'currency', '') <> a.currency
union
select account, instrument,
  'fxRateToBase of ' || currency || ' is not 1: the statements'' base currency is another'
from fills
where currency = account_currency and exact(rate_text) <> 1
union
select r.account, '',
  'statements of several IBKR accounts were landed under it ('
  || string_agg(distinct r.payload::json ->> '$.attributes.accountId', ', ')
  || '): give each an [[accounts]] entry of its own'
from raw.records r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.venue = 'ibkr-flex' and r.kind = 'FlexStatement' and r.payload is not null
group by r.account
having count(distinct r.payload::json ->> '$.attributes.accountId') > 1
union
-- An order restates its executions: where none came, it is all that there is, and nothing is known.
select r.account, coalesce(trim(r.payload ->> 'symbol'), ''),
  'an order came without its executions: tick Executions in the Flex query''s section Trades'
from raw.current r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.venue = 'ibkr-flex' and r.payload ->> 'levelOfDetail' = 'ORDER'
  and not exists (
    select 1
    from raw.current e
    where e.venue = r.venue and e.account = r.account and e.kind in ('Trade', 'TradeConfirm')
      and e.payload ->> 'levelOfDetail' = 'EXECUTION'
      and coalesce(e.payload ->> 'ibOrderID', e.payload ->> 'orderID', '')
      = coalesce(r.payload ->> 'ibOrderID', r.payload ->> 'orderID', '')
      and trim(e.payload ->> 'symbol') = trim(r.payload ->> 'symbol')
  )
union
select r.account, coalesce(trim(r.payload ->> 'symbol'), ''),
  'cash of type "' || (r.payload ->> 'type')
  || '" came only as a summary: tick Detail in the Flex query''s section Cash Transactions'
from raw.current r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.venue = 'ibkr-flex' and r.kind = 'CashTransaction'
  and r.payload ->> 'levelOfDetail' = 'SUMMARY'
  and not exists (
    select 1
    from raw.current e
    where e.venue = r.venue and e.account = r.account and e.kind = r.kind
      and e.payload ->> 'levelOfDetail' = 'DETAIL'
      and e.payload ->> 'type' = r.payload ->> 'type'
      and e.payload ->> 'currency' = r.payload ->> 'currency'
  )
union
select r.account, '',
  'rows of account ' || (r.payload ->> 'accountId') || ' stand in its statements'
from raw.current r
where r.venue = 'ibkr-flex' and r.kind in ('Trade', 'TradeConfirm', 'CashTransaction')
  and coalesce(r.payload ->> 'accountId', '') not in ('', '-')
  and not exists (
    select 1
    from staging.flex_statements s
    where s.account = r.account
      -- The commodities segment of an account has an F at the end of its number.
      and (r.payload ->> 'accountId') in (s.broker_account, s.broker_account || 'F')
  )
