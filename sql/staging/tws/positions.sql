-- grain: one open position of the latest snapshot; key: account, instrument
-- TWS states neither a mark here nor an average without commission: both are unknown.
select
  p.account,
  p.instrument,
  'net' as position_side,
  sum(p.qty)::decimal(38, 18) as qty,
  null::decimal(38, 18) as avg_price,
  null::decimal(38, 18) as mark_price,
  min(p.currency) as currency,
  min(p.taken_at) as taken_at,
  min(coalesce(s.session_date, p.taken_at::date)) as session_date
from staging.tws_parsed_positions p
left join config.sessions s
  on s.account = p.account and s.start_at < p.taken_at and p.taken_at <= s.end_at
where p.reason is null
group by p.account, p.instrument
having sum(p.qty) <> 0
