-- grain: one execution as TWS gave it; key: account, exec_id
-- `verdict` says where it goes, each to one place alone:
--   fill         it moves a position
--   superseded   another one of its family has a higher number after the last period: that counts
--   restated     a combination, whose legs are executions of their own
--   conversion   secType CASH: money changed for money; a finding
--   quarantined  it cannot be read, for `reason`
-- Its commission is a record of its own, and goes where it goes. One that has not been reported is
-- unknown; `realizedPNL` is 0.0 or unset where nothing is known of it, and is never read.
with texts as (
  select
    r.account,
    r.id as exec_id,
    execution_family(r.id) as family,
    a.currency as account_currency,
    r.fetched_at,
    c.id is not null as has_commission,
    coalesce(r.payload ->> 'secType', '') as category,
    case
      when r.payload ->> 'secType' in ('STK', 'CFD', 'CASH') then coalesce(trim(r.payload ->> 'symbol'), '')
      else coalesce(trim(r.payload ->> 'localSymbol'), '')
    end as symbol,
    coalesce(n.instrument, symbol) as instrument,
    coalesce(r.payload ->> 'currency', '') as currency,
    r.payload ->> 'side' as side,
    exact(r.payload ->> 'shares') as size,
    exact(r.payload ->> 'price') as price,
    case
      when r.payload ->> 'secType' in ('STK', 'CFD', 'CASH')
        and coalesce(r.payload ->> 'multiplier', '') in ('', '0') then 1::decimal(38, 18)
      else exact(r.payload ->> 'multiplier')
    end as multiplier,
    exact(c.payload ->> 'commission') as commission,
    c.payload ->> 'commission' as commission_text,
    nullif(c.payload ->> 'currency', '') as commission_currency,
    nullif(nullif(r.payload ->> 'permId', ''), '0') as order_id,
    nullif(r.payload ->> 'orderRef', '') as order_tag,
    -- Fills of one order at one instant go by what had been filled by then.
    coalesce(try_cast(exact(r.payload ->> 'cumQty') as decimal(30, 6)) * 1000000, 0)::hugeint as seq,
    coalesce(r.payload ->> 'liquidation', '0') not in ('', '0') as is_system,
    lower(coalesce(r.payload ->> 'pendingPriceRevision', '0')) not in ('', '0', 'false')
      as is_price_pending,
    k.at,
    k.flaw
  from raw.staged_records r
  join config.accounts a on a.venue = r.venue and a.account = r.account
  left join raw.staged_records c
    on c.venue = r.venue and c.account = r.account and c.kind = 'commission' and c.id = r.id
  left join config.conids n on n.account = r.account and n.conid = r.payload ->> 'conId'
    and r.payload ->> 'secType' <> 'CASH'
  left join staging.tws_clock k on k.account = r.account and k.text = r.payload ->> 'time'
  where r.venue = 'ibkr-tws' and r.kind = 'execution'
),

judged as (
  select
    t.*,
    case side when 'BOT' then size when 'SLD' then -size end as qty,
    (-commission)::decimal(38, 18) as fee,
    coalesce(commission_currency, currency) as fee_currency,
    row_number() over (partition by t.account, family order by correction(exec_id) desc, exec_id) = 1
      as is_latest,
    category = 'BAG' and exists (
      from texts leg
      where leg.account = t.account and leg.order_id = t.order_id and leg.category <> 'BAG'
    ) as is_told_by_legs,
    nullif(concat_ws(
      '; ',
      case when category = 'BAG' then 'a combination without the executions of its legs' end,
      case when category not in ('STK', 'OPT', 'FUT', 'FOP', 'CFD', 'WAR', 'IOPT', 'CASH', 'BAG')
        then 'secType ' || category || ' is not read from TWS yet' end,
      case when symbol = '' then 'symbol and localSymbol are missing' end,
      case when currency = '' then 'currency is missing' end,
      coalesce(flaw, case when t.at is null then 'the time is missing' end),
      case when t.at >= fetched_at + interval 1 day then 'the time is later than now' end,
      case when coalesce(side, '') not in ('BOT', 'SLD') then 'side is neither BOT nor SLD' end,
      case when coalesce(size, 0) <= 0 then 'shares are not a quantity' end,
      case when price is null then 'the price is missing or unreadable' end,
      case when multiplier is null or multiplier <= 0 then 'multiplier is missing or unreadable' end,
      case
        when not has_commission
          then 'the commission has not been reported: unknown, and never 0 (other clients'' are '
            || 'reported to the Master API client ID alone)'
        when commission is null
          then 'the commission is ' || coalesce(nullif(commission_text, ''), 'blank')
            || ': unreadable, and never 0'
        when commission <> 0 and commission_currency is null then 'the commission has no currency'
      end
    ), '') as flaws
  from texts t
)

select
  j.* exclude (flaws, is_latest, is_told_by_legs, size, commission_text, fetched_at),
  case
    when not is_latest then 'superseded'
    when is_told_by_legs then 'restated'
    when flaws is not null then 'quarantined'
    when category = 'CASH' then 'conversion'
    else 'fill'
  end as verdict,
  case when is_latest and not is_told_by_legs then flaws end as reason,
  -- TWS names no trade date: it is the session that the instant lies in. What came before the first
  -- session lies before its date, too.
  coalesce(s.session_date, (j.at - interval 1 day)::date) as session_date
from judged j
left join config.sessions s on s.account = j.account and s.start_at <= j.at and j.at < s.end_at
