-- grain: what one contract realised in one session, by our lots and by OKX; key: account,
-- instrument, session_date. In the account's currency; OKX's own at the rate of each fill.
-- OKX realises by average cost: an account of another lot method has nothing here to be held to,
-- and spot has no PnL at OKX. `rounding_amount` is what OKX's own rounding may come to.
-- replaces: exists (from affected.lots t where t.account = k.account and t.instrument = k.instrument and k.session_date >= t.from_session)
with stated as (
  select
    f.account,
    f.instrument,
    f.session_date,
    whole_sum(at_rate(f.broker_pnl, f.rate)) as stated_amount,
    whole_sum(f.broker_pnl) as stated_in_settlement,
    sum(case when f.broker_pnl <> 0 then greatest(f.rate, 1) else 0 end) as closings
  from evidence.fills f
  join affected.lots t on t.account = f.account and t.instrument = f.instrument
  join config.accounts a on a.account = f.account
  where
    a.venue = 'okx' and a.lots = 'average'
    and f.instrument_kind not in ('spot', 'margin')
    and f.session_date >= getvariable('lots_from')
    and f.session_date between t.from_session and t.last_session
  group by f.account, f.instrument, f.session_date
)

select
  s.account,
  s.instrument,
  s.session_date,
  r.gross as realised_amount,
  s.stated_amount,
  s.stated_in_settlement,
  (0.00000001 * (s.closings::decimal(20, 0) + 1))::decimal(38, 18) as rounding_amount
from stated s
left join lots.realised r
  on r.account = s.account and r.instrument = s.instrument and r.session_date = s.session_date
  and r.scope = 'account'
