-- grain: one fill inside the window, with the bot it belongs to; key: account, fill_id
-- Its order tag first, the longest that fits; else the owner of the instrument; else nobody: null.
with tagged as (
  select f.account, f.fill_id, arg_max(b.bot, length(b.order_tag)) as bot
  from staging.fills f
  join config.bots b on b.account = f.account and starts_with(f.order_tag, b.order_tag)
  group by f.account, f.fill_id
)

select f.*, coalesce(t.bot, o.bot) as bot
from staging.fills f
join config.accounts a on a.account = f.account
left join tagged t on t.account = f.account and t.fill_id = f.fill_id
left join config.owners o on o.account = f.account and o.instrument = f.instrument
where f.session_date between a.first_date and a.last_date
