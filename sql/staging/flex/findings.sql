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
  from raw.staged_records r
  where r.venue = 'ibkr-flex'
),

fills as (
  select f.*
  from staging.flex_parsed_fills f
  join config.accounts a using (account)
  where f.verdict in ('fill', 'conversion')
    and (f.session_date is null or f.session_date >= a.first_date)
)

-- What the option has cost belongs to the stock: neither is known.
select f.account, f.kind as source_kind, f.id as source_id, f.session_date,
  unnest([f.instrument, coalesce(f.underlying_instrument, f.instrument)]) as instrument,
  'an exercise or assignment without its other leg, option or stock, at the same time: where its'
  || ' premium goes is not known' as reason
from fills f
left join staging.flex_exercises e
  on e.account = f.account and e.kind = f.kind and e.id = f.id
-- A leg that lacks a field cannot be told: that is named, and the other leg is not to blame.
anti join (
  from staging.flex_missing where source_kind = 'Trade' and needed_of in ('each row', 'exercises', 'exercises by symbol')
) m on m.account = f.account
where f.verdict = 'fill' and list_has_any(f.notes, ['A', 'Ex']) and e.id is null
  -- What settles in cash has a price; what is delivered stands at the strike.
  and not (f.category in ('OPT', 'FOP', 'WAR', 'IOPT') and f.price <> 0)
union
select account, kind, id, session_date, instrument,
  'taxes are in ' || currency || ', the commission in ' || fee_currency || ': they are not added up'
from fills
where taxes <> 0 and fee_currency <> currency
union
-- A session may begin on the evening before its date; nothing is traded or told before it happened.
select account, kind, id, session_date, instrument, 'executed on ' || executed_date || ', of trade date '
  || trade_date || ', reported on ' || report_date || ': these are out of order, and one of them is wrong'
from fills
where executed_date > trade_date or trade_date > report_date
union
select account, kind, id, session_date, instrument, 'proceeds are not -quantity * price * multiplier for this ' || category
from fills
where category = 'BOND' and not coalesce(abs(proceeds + value) <= 0.01, false)
union
select account, kind, id, session_date, instrument, 'proceeds of a FUND are missing: units times price is not what was paid'
from fills
where category = 'FUND' and verdict = 'fill' and proceeds is null
union
select account, kind, id, session_date, instrument, 'netCash is not proceeds + commission + taxes: a charge is missing here'
from fills
where category in ('STK', 'OPT', 'FOP', 'WAR', 'IOPT') and verdict = 'fill'
  and fee_currency = currency and abs(net_cash - proceeds - fee) > 0.01
  -- The stock's leg of an exercise leaves its commission out of netCash.
  and not (list_has_any(notes, ['A', 'Ex']) and net_cash = proceeds)
union
-- Of a spin-off one row alone is written, the new paper's: the headline names the paper that it is of.
select p.account, 'CorporateAction', p.id, p.session_date,
  unnest([p.instrument, coalesce(p.headed_instrument, p.instrument)]),
  'corporate action not valued: '
  || coalesce(nullif(p.type, ''), nullif(p.headline, ''), 'of no type')
from staging.flex_parsed_actions p
join config.accounts a on a.account = p.account
where p.verdict = 'unknown' and (p.session_date is null or p.session_date >= a.first_date)
union
select s.account, 'CorporateAction', s.id, s.session_date, s.instrument,
  'corporate action ' || coalesce(nullif(s.type, ''), nullif(s.headline, ''), 'of no type')
  || ' came only as a summary: tick Detail in the Flex query''s section Corporate Actions'
from staging.flex_parsed_actions s
join config.accounts a on a.account = s.account
where s.verdict = 'restated' and (s.session_date is null or s.session_date >= a.first_date)
  and not exists (
    select 1
    from staging.flex_parsed_actions d
    where d.account = s.account and d.verdict <> 'restated' and d.day is not distinct from s.day
      and d.headline = s.headline and d.instrument = s.instrument
  )
union
select b.account, 'FlexStatement', b.statement_id, null, null,
  'the statements'' base currency is ' || b.currency || ' (their section ' || coalesce(map {
    'AccountInformation': 'Account Information', 'ConversionRates': 'Conversion Rates',
    'EquitySummaryInBase': 'Net Asset Value', 'ChangeInNAV': 'Change in NAV',
    'CashReport': 'Cash Report', 'StmtFunds': 'Statement of Funds'
  }[b.section], b.section) || ' says so), and the account''s `currency` in the configuration is '
  || a.currency || ': correct it; rates to ' || a.currency || ' are not known'
from staging.flex_bases b
join config.accounts a on a.account = b.account
where b.currency <> a.currency and b.to_date >= a.first_date
union
select account, kind, id, session_date, instrument,
  'fxRateToBase of ' || currency || ' is not 1: the statements'' base currency is another'
from fills
where currency = account_currency and exact(rate_text) <> 1
union
-- An order restates its executions: where none came, it is all that there is, and nothing is known.
select r.account, r.kind, r.id, null, null,
  'an order of ' || coalesce(nullif(trim(r.payload ->> 'symbol'), ''), 'no symbol')
  || ' came without its executions: tick Executions in the Flex query''s section Trades'
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
-- What sums up executions, or says what they closed, is no execution.
select r.account, r.kind, r.id, null, null,
  'a row of level ' || (r.payload ->> 'levelOfDetail') || ' came of '
  || coalesce(nullif(trim(r.payload ->> 'symbol'), ''), 'an asset class')
  || ', and not one execution of it: tick Executions in the Flex query''s section Trades'
from days r
join config.accounts a on a.venue = r.venue and a.account = r.account
where r.kind in ('Trade', 'TradeConfirm', 'Lot', 'SymbolSummary', 'AssetSummary', 'WashSale')
  and r.payload ->> 'levelOfDetail' in (
    'CLOSED_LOT', 'LOT', 'SYMBOL_SUMMARY', 'ASSET_SUMMARY', 'WASH_SALE'
  )
  and try_strptime(r.day, '%Y%m%d')::date >= a.first_date
  and not exists (
    select 1
    from days e
    where e.account = r.account and e.kind in ('Trade', 'TradeConfirm')
      and e.payload ->> 'levelOfDetail' = 'EXECUTION'
      and coalesce(trim(r.payload ->> 'symbol'), '') in ('', trim(e.payload ->> 'symbol'))
  )
union
select t.account, 'Transfer', t.id, t.session_date, t.instrument,
  coalesce(plain(t.qty) || ' of it', 'it') || ' came by a transfer (' || t.type || ') on ' || t.day
  || ': what that had cost, the statement does not say'
from staging.flex_transfers t
join config.accounts a on a.account = t.account
where coalesce(t.session_date >= a.first_date, true)
union
select r.account, r.kind, r.id, null, null,
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
from raw.staged_records r
where r.venue = 'ibkr-flex' and r.kind in ('Trade', 'TradeConfirm', 'CashTransaction')
  and coalesce(r.payload ->> 'accountId', '') not in ('', '-')
  and not exists (
    select 1
    from staging.flex_statements s
    where s.account = r.account
      -- The commodities segment of an account has an F at the end of its number.
      and (r.payload ->> 'accountId') in (s.broker_account, s.broker_account || 'F')
  )
