-- grain: one instrument's realised PnL by our lots and by OKX, and one its closed positions were
-- held to; key: account, name, subject. Accounts of another method than OKX's have no row. What has no
-- known value on either side is a finding, and not compared.
with held as (
  select
    r.account,
    r.instrument as name,
    'fills' as subject,
    r.session_date::varchar as unit,
    r.realised_amount - r.stated_amount as difference,
    case
      when abs(r.realised_amount - r.stated_amount) > r.rounding_amount
        then 'the lots and OKX''s fillPnl differ in'
    end as wrong
  from proofs.okx_realised r
  join config.accounts a on a.account = r.account
  anti join proofs.okx_settled_pnl s on s.account = r.account and s.instrument = r.instrument
  where
    r.session_date between a.first_date and a.last_date
    and r.realised_amount is not null and r.stated_amount is not null
  union all by name
  select
    account,
    instrument as name,
    'fills' as subject,
    'the window' as unit,
    realised_amount + paid_ahead - stated_amount as difference,
    case
      when abs(realised_amount + paid_ahead - stated_amount) > rounding_amount
        then 'the lots and OKX''s fillPnl and settlements differ in'
    end as wrong
  from proofs.okx_settled_pnl
  where paid_ahead is not null and stated_amount is not null
  union all by name
  select
    p.account,
    p.instrument as name,
    'positions' as subject,
    'position ' || p.position_id as unit,
    coalesce(p.ours_amount, p.parts_amount) - p.realised_amount as difference,
    case
      when abs(p.realised_amount - p.parts_amount) > p.rounding_amount
        then 'pnl + fee + fundingFee + liqPenalty + settledPnl is not realizedPnl of'
      when abs(p.realised_amount - p.ours_amount) > p.rounding_amount
        then 'fills and ledger differ from realizedPnl of'
    end as wrong
  from proofs.okx_positions_held p
  join config.accounts a on a.account = p.account and a.lots = 'average'
  where p.closed_at < a.window_end
)

select
  account,
  name,
  subject,
  coalesce(
    min(wrong || ' ' || unit) || case
      when count(wrong) > 1 then ' and ' || (count(wrong) - 1) || ' more'
      else ''
    end || case
      when bool_or(contains(wrong, 'differ'))
        then ': a fill or an entry is missing, doubled or altered, or its position is older than the window'
      else ': OKX contradicts itself'
    end,
    ''
  ) as place,
  sum(difference)::decimal(38, 18) as difference,
  count(wrong) = 0 as is_closed
from held
group by account, name, subject
