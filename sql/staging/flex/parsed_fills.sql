-- grain: one Trade or TradeConfirm row as IBKR wrote it; key: account, kind, id
-- `verdict` says where the row goes, each row to one place alone:
--   fill         a level EXECUTION row that moves a position
--   cancelled    a cancel, or the original that it takes back: neither moves a position. The fees that
--                remain of the pair go to its order's fills, see flex_corrected_fees.sql
--   conversion   a CASH row: money changed for money, no position; its commission is a ledger entry
--   restated     a row that repeats executions in another form (orders, lots, summaries; a trade
--                confirmation of a day that an activity statement covers)
--   quarantined  it cannot be read, for `reason`
-- One execution is one row: sum every row, a correction's cancel and rebooking included.
with texts as (
  select
    r.account,
    r.kind,
    r.id,
    a.currency as account_currency,
    not exists (
      from staging.flex_bases b where b.account = r.account and b.currency <> a.currency
    ) as is_in_base,
    coalesce(upper(r.payload ->> 'levelOfDetail'), '') as level,
    coalesce(trim(r.payload ->> 'symbol'), '') as symbol,
    coalesce(n.instrument, y.instrument, trim(r.payload ->> 'symbol'), '') as instrument,
    coalesce(upper(r.payload ->> 'assetCategory'), '') as category,
    nullif(r.payload ->> 'conid', '') as conid,
    nullif(r.payload ->> 'underlyingConid', '') as underlying_conid,
    nullif(trim(r.payload ->> 'underlyingSymbol'), '') as underlying,
    coalesce(u.instrument, v.instrument, underlying) as underlying_instrument,
    r.payload ->> 'putCall' as put_call,
    exact(r.payload ->> 'strike') as strike,
    nullif(r.payload ->> 'tradeDate', '') as trade_date_text,
    coalesce(
      nullif(r.payload ->> 'dateTime', ''),
      nullif(concat_ws(';', trade_date_text, nullif(r.payload ->> 'tradeTime', '')), '')
    ) as time_text,
    nullif(r.payload ->> 'reportDate', '') as report_date_text,
    r.payload ->> 'quantity' as qty_text,
    coalesce(r.payload ->> 'tradePrice', r.payload ->> 'price') as price_text,
    r.payload ->> 'multiplier' as multiplier_text,
    r.payload ->> 'proceeds' as proceeds_text,
    r.payload ->> 'netCash' as net_cash_text,
    r.payload ->> 'fifoPnlRealized' as broker_pnl_text,
    r.payload ->> 'fxRateToBase' as rate_text,
    coalesce(r.payload ->> 'ibCommission', r.payload ->> 'commission') as commission_text,
    coalesce(r.payload ->> 'taxes', r.payload ->> 'tax') as taxes_text,
    nullif(coalesce(
      r.payload ->> 'ibCommissionCurrency', r.payload ->> 'commissionCurrency'
    ), '') as commission_currency,
    coalesce(r.payload ->> 'currency', '') as currency,
    nullif(nullif(coalesce(r.payload ->> 'ibOrderID', r.payload ->> 'orderID'), ''), 'N/A')
      as order_id,
    nullif(r.payload ->> 'orderReference', '') as order_tag,
    nullif(r.payload ->> 'tradeID', '') as trade_id,
    nullif(r.payload ->> 'origTradeID', '') as cancelled_trade_id,
    coalesce(r.payload ->> 'transactionType', '') as transaction_type,
    list_transform(
      string_split(coalesce(r.payload ->> 'notes', r.payload ->> 'code', ''), ';'),
      lambda x: trim(x)
    ) as notes,
    try_cast(r.payload ->> 'transactionID' as hugeint) as transaction_number
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  left join config.conids n on n.account = r.account and n.conid = trim(r.payload ->> 'conid')
    and coalesce(upper(r.payload ->> 'assetCategory'), '') <> 'CASH'
  left join config.names y
    on y.account = r.account and coalesce(trim(r.payload ->> 'conid'), '') in ('', '0')
    and y.symbol = trim(r.payload ->> 'symbol')
    and flex_day(r.payload) >= y.from_day and flex_day(r.payload) < y.until_day
    and coalesce(upper(r.payload ->> 'assetCategory'), '') <> 'CASH'
  left join config.conids u
    on u.account = r.account and u.conid = trim(r.payload ->> 'underlyingConid')
  left join config.names v
    on v.account = r.account and coalesce(trim(r.payload ->> 'underlyingConid'), '') in ('', '0')
    and v.symbol = trim(r.payload ->> 'underlyingSymbol')
    and flex_day(r.payload) >= v.from_day and flex_day(r.payload) < v.until_day
  where r.venue = 'ibkr-flex' and r.kind in ('Trade', 'TradeConfirm')
),

numbers as (
  select
    t.*,
    exact(qty_text) as qty,
    exact(price_text) as price,
    case
      when multiplier_text is null and category = 'STK' then 1::decimal(38, 18)
      else exact(multiplier_text)
    end as multiplier,
    exact(commission_text) as commission,
    exact(taxes_text) as taxes,
    exact(proceeds_text) as proceeds,
    exact(net_cash_text) as net_cash,
    coalesce(commission_currency, currency) as fee_currency,
    -- Taxes of another currency than the commission's cannot be added to it: a finding names them.
    case
      when coalesce(commission_currency, currency) = currency
        then (exact(commission_text) + exact(taxes_text))::decimal(38, 18)
      when exact(taxes_text) is not null then exact(commission_text)
    end as fee,
    case
      when currency = account_currency then 1::decimal(38, 18)
      when is_in_base and exact(rate_text) > 0 then exact(rate_text)
    end as own_rate,
    transaction_type = 'TradeCancel' or list_contains(notes, 'Ca') as is_cancel,
    -- Products are taken in few enough digits to fit; the check allows for what that rounds.
    case
      when abs(exact(qty_text)) < 1000000000000 and abs(exact(price_text)) < 1000000000000
      then exact(qty_text)::decimal(38, 6) * exact(price_text)::decimal(38, 8)
    end as units_value,
    case when abs(units_value) < 100000000000000 and multiplier < 100000000
      then units_value::decimal(38, 12) * multiplier::decimal(38, 4)
    end as value,
    c.at as precise_at,
    c.midnight_at,
    coalesce(c.flaw, d.flaw) as flaw,
    c.day as executed_date,
    coalesce(d.day, c.day) as trade_date,
    coalesce(p.day, d.day, c.day) as report_date
  from texts t
  left join staging.flex_clock c on c.text = t.time_text
  left join staging.flex_clock d on d.text = t.trade_date_text
  left join staging.flex_clock p on p.text = t.report_date_text
),

-- A date that is no session (a weekend, a holiday) belongs to the session that follows, and one
-- from before the first session to none.
dated as (
  select
    n.*,
    timezone('America/New_York', timezone('UTC', s.start_at))::date < n.trade_date as is_in_it,
    case when is_in_it then s.session_date else n.trade_date end as session_date,
    -- A date alone is not precise: such a fill stands at its session's start.
    coalesce(n.precise_at, case when is_in_it then s.start_at end, n.midnight_at) as at
  from numbers n
  asof left join config.sessions s
    on s.account = n.account and n.trade_date <= s.session_date
),

-- The trade's own rate to the account's currency, else the statement's of its day, else of the
-- session that its day belongs to.
rated as (
  select
    d.*,
    coalesce(d.own_rate, t.rate, s.rate) as rate,
    case
      when d.currency = d.account_currency then 'exact'
      when d.own_rate is not null or t.rate is not null then 'converted'
      when s.rate is not null then 'estimated'
    end as valuation,
    case
      when d.fee_currency = d.account_currency then 1::decimal(38, 18)
      when d.fee_currency = d.currency then coalesce(d.own_rate, t.rate, s.rate)
      else coalesce(ft.rate, fs.rate)
    end as fee_rate,
    case
      when d.fee_currency = d.account_currency then 'exact'
      when d.fee_currency = d.currency and d.own_rate is not null then 'converted'
      when d.fee_currency = d.currency and t.rate is not null then 'converted'
      when d.fee_currency = d.currency and s.rate is not null then 'estimated'
      when ft.rate is not null then 'converted'
      when fs.rate is not null then 'estimated'
    end as fee_valued
  from dated d
  left join staging.flex_rates t
    on t.account = d.account and t.currency = d.currency and t.day = d.trade_date
  left join staging.flex_rates s
    on s.account = d.account and s.currency = d.currency and s.day = d.session_date
  left join staging.flex_rates ft
    on ft.account = d.account and ft.currency = d.fee_currency and ft.day = d.trade_date
  left join staging.flex_rates fs
    on fs.account = d.account and fs.currency = d.fee_currency and fs.day = d.session_date
),

judged as (
  select
    *,
    case
      when level in ('ORDER', 'LOT', 'CLOSED_LOT', 'SYMBOL_SUMMARY', 'ASSET_SUMMARY', 'WASH_SALE')
        then 'restated'
      when kind = 'TradeConfirm' and exists (
        select 1
        from staging.flex_statements s
        where s.account = d.account and s.has_trades
          and d.report_date between s.from_date and s.to_date
      ) then 'restated'
    end as restatement,
    nullif(concat_ws(
      '; ',
      case when level = ''
        then 'levelOfDetail is missing: add the field Level of Detail to the Flex query' end,
      case when level not in ('', 'EXECUTION')
        then 'levelOfDetail ' || level || ' is not known' end,
      case when symbol = '' then 'symbol is missing' end,
      case when category = '' then 'assetCategory is missing' end,
      case when category not in (
        '', 'STK', 'OPT', 'FUT', 'FOP', 'CFD', 'WAR', 'IOPT', 'FUND', 'BOND', 'CASH'
      ) then 'assetCategory ' || category || ' is not known' end,
      case when currency = '' then 'currency is missing' end,
      case when time_text is null then 'dateTime and tradeDate are missing' end,
      flaw,
      case when qty is null or qty = 0 then 'quantity is not a quantity' end,
      case when price is null then 'the trade price is missing or unreadable' end,
      case when multiplier is null or multiplier <= 0
        then 'multiplier is missing or unreadable: add the field Multiplier to the Flex query' end,
      case when commission is null
        then 'the commission is missing or unreadable: unknown, and never 0' end,
      case when taxes is null
        then 'taxes are missing or unreadable: add the field Taxes to the Flex query' end,
      case when commission <> 0 and commission_currency is null
        then 'ibCommissionCurrency is missing' end,
      case when is_unreadable(proceeds_text) then 'proceeds are unreadable' end,
      case when is_unreadable(broker_pnl_text) then 'fifoPnlRealized is unreadable' end,
      case when category not in ('FUND', 'BOND', 'CASH') and proceeds is not null
        and qty is not null and price is not null and multiplier > 0 and value is null
        then 'quantity, price and multiplier have too many digits to be checked' end,
      case when category not in ('FUND', 'BOND', 'CASH') and abs(proceeds + value) > 0.01
        then 'proceeds ' || proceeds_text || ' are not -quantity * price * multiplier' end
    ), '') as flaws
  from rated d
),

executions as (
  select * from judged where restatement is null and flaws is null and category <> 'CASH'
),

-- The n-th cancel of a trade takes back its n-th booking of that quantity and price.
numbered as (
  select
    *,
    coalesce(case when is_cancel then cancelled_trade_id else trade_id end, '') as pair_trade_id,
    case when is_cancel then -qty else qty end as booked_qty,
    row_number() over (
      partition by account, instrument, pair_trade_id, booked_qty, price, is_cancel
      order by report_date, transaction_number nulls last, id
    ) as n
  from executions
),

by_trade as (
  select c.account, c.kind as cancel_kind, c.id as cancel_id, o.kind, o.id, o.at, o.session_date,
    o.trade_id, coalesce(o.order_id, c.order_id) as order_id
  from numbered c
  join numbered o using (account, instrument, pair_trade_id, booked_qty, price, n)
  where c.is_cancel and not o.is_cancel and c.pair_trade_id <> ''
),

-- A cancel that names no trade takes back what its order did at the same moment.
left_over as (
  select
    *,
    row_number() over (
      partition by account, instrument, order_id, time_text, booked_qty, price, is_cancel
      order by report_date, transaction_number nulls last, id
    ) as m
  from numbered x
  where order_id is not null
    and (not is_cancel or pair_trade_id = '')
    and not exists (
      select 1 from by_trade b where b.account = x.account and b.kind = x.kind and b.id = x.id
    )
),

by_order as (
  select c.account, c.kind as cancel_kind, c.id as cancel_id, o.kind, o.id, o.at, o.session_date,
    o.trade_id, coalesce(o.order_id, c.order_id) as order_id
  from left_over c
  join left_over o using (account, instrument, order_id, time_text, booked_qty, price, m)
  where c.is_cancel and not o.is_cancel
),

pairs as (
  select * from by_trade
  union all
  select * from by_order
),

paired as (
  select p.account, p.kind, p.id, p.kind as pair_kind, p.id as pair_id, p.at as pair_at,
    p.session_date as pair_session_date, p.trade_id as pair_trade_id, p.order_id as pair_order_id
  from pairs p
  union all
  select p.account, p.cancel_kind, p.cancel_id, p.kind, p.id, p.at, p.session_date, p.trade_id,
    p.order_id
  from pairs p
)

select
  j.* exclude (restatement, flaws),
  p.pair_kind,
  p.pair_id,
  p.pair_at,
  p.pair_session_date,
  p.pair_trade_id,
  p.pair_order_id,
  -- Of the row alone, so that it is the same whatever is staged beside it; ties go by the id.
  coalesce(j.transaction_number, try_cast(j.trade_id as hugeint), 0)::hugeint as seq,
  case
    when j.restatement is not null then j.restatement
    when j.flaws is not null then 'quarantined'
    when j.category = 'CASH' then 'conversion'
    when p.id is not null then 'cancelled'
    when j.is_cancel then 'quarantined'
    else 'fill'
  end as verdict,
  case
    when j.restatement is not null then null
    when j.flaws is not null then j.flaws
    when j.category <> 'CASH' and j.is_cancel and p.id is null
      then 'a cancel without the trade that it cancels: extend the Flex query back to it, and tick Trade ID and'
        || ' Orig Trade ID'
  end as reason
from judged j
left join paired p on p.account = j.account and p.kind = j.kind and p.id = j.id
