-- grain: one owner's session of which something else was told before; key: account, scope, bot, session_date
-- A session that was told of and had no row was told as nothing; what lay outside the window that was
-- told was not told at all, and is no restatement. Null is unknown, before or now.
with now as (
  select p.account, p.scope, p.bot, p.session_date, p.net, p.open_costs
  from pnl.by_session p
),

before as (
  select t.account, t.scope, t.bot, t.session_date, t.net, t.open_costs
  from reports.by_session t
),

held as (
  select
    coalesce(n.account, b.account) as account,
    coalesce(n.scope, b.scope) as scope,
    coalesce(n.bot, b.bot) as bot,
    coalesce(n.session_date, b.session_date) as session_date,
    case when b.account is null then 0::decimal(38, 18) else b.net end as net_before,
    case when b.account is null then 0::decimal(38, 18) else b.open_costs end as open_costs_before,
    case when n.account is null then 0::decimal(38, 18) else n.net end as net,
    case when n.account is null then 0::decimal(38, 18) else n.open_costs end as open_costs
  from now n
  full join before b
    on b.account = n.account and b.scope = n.scope and b.bot is not distinct from n.bot
    and b.session_date = n.session_date
)

select x.*
from held x
join config.accounts a on a.account = x.account
join reports.through t on t.account = x.account
left join reports.since s on s.account = x.account
where
  x.session_date between greatest(a.first_date, coalesce(s.since, a.first_date)) and least(a.last_date, t.through)
  and (x.net is distinct from x.net_before or x.open_costs is distinct from x.open_costs_before)
