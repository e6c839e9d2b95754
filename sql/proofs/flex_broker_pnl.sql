-- grain: one instrument whose realised PnL IBKR states; key: account, name
-- Ours by IBKR's method (first in, first out, in the instrument's currency, commission of both legs
-- included: scope 'broker' of the lots) against Σ fifoPnlRealized, session by session. IBKR rounds
-- the PnL of each lot that an execution closes at the sixth decimal: the bound is a millionth for each
-- lot closed. `difference` is ours − theirs, in the instrument's currency. Conversions of money
-- realise nothing here, nor at IBKR.
-- An account whose statements never say fifoPnlRealized has no row: there is nothing to hold against.
with ours as (
  select
    r.account,
    r.instrument,
    r.session_date,
    r.closed_lots,
    r.gross + r.fees as realised
  from lots.realised r
  join config.accounts a on a.account = r.account
  where a.venue = 'ibkr-flex' and r.scope = 'broker' and r.fills > 0
    and r.session_date between a.first_date and a.last_date
),

theirs as (
  select s.*
  from proofs.stated_sessions s
  join config.accounts a on a.account = s.account
  where a.venue = 'ibkr-flex' and s.session_date between a.first_date and a.last_date
),

says as (
  select account
  from theirs
  group by account
  having sum(told) > 0
),

held as (
  select
    coalesce(t.account, o.account) as account,
    coalesce(t.instrument, o.instrument) as instrument,
    coalesce(t.session_date, o.session_date) as session_date,
    t.currency,
    coalesce(t.stated, 0) as stated,
    -- A session of nothing but cancelled pairs has no fill of ours, and realised nothing.
    case when o.account is null then 0 else o.realised end as realised,
    coalesce(t.records, 0) - coalesce(t.told, 0) as untold,
    coalesce(
      abs(coalesce(o.realised, 0) - t.stated) <= coalesce(o.closed_lots, 0) * 0.000001, false
    ) and (o.account is null or o.realised is not null) as is_same
  from theirs t
  full join ours o
    on o.account = t.account and o.instrument = t.instrument and o.session_date = t.session_date
),

sums as (
  select
    h.account,
    h.instrument,
    min(h.currency) as currency,
    count(distinct h.currency) as currencies,
    sum(h.untold) as untold,
    whole_sum(h.realised) as realised,
    sum(h.stated)::decimal(38, 18) as stated,
    bool_and(h.is_same) as is_same,
    min(case when not h.is_same then h.session_date end) as first_session
  from held h
  semi join says s on s.account = h.account
  group by h.account, h.instrument
)

select
  account,
  instrument as name,
  case
    when untold > 0
      then untold || ' of its executions say no fifoPnlRealized: tick Realized P/L in the Flex query''s'
        || ' section Trades, or wait for the activity statement'
    when currencies > 1 then 'it realised PnL in several currencies: not told apart yet'
    when realised is null then 'what it realised here cannot be reckoned: see the other reasons'
    when is_same then 'realised ' || plain(realised) || ' ' || currency || ', as IBKR says'
    else 'realised ' || plain(realised) || ' ' || currency || ', IBKR says ' || plain(stated)
      || ', from session ' || first_session || ' on: an execution is missing, doubled or altered, or it was'
      || ' held before `since` (set `since` to a date when it was flat)'
  end as place,
  (realised - stated)::decimal(38, 18) as difference,
  untold = 0 and currencies = 1 and is_same as is_closed
from sums
