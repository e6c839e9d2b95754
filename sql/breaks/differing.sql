-- grain: one bot whose claim and truth are both known, and are not the same, or that is asked for; key: bot
-- Over the window or over the as-of session. What is realised counts when a position is closed, or,
-- for a bot that books costs as it pays them, when it is paid.
select distinct d.bot, d.account, b.costs_booked = 'when_paid' as is_by_payment
from breaks.divergence d
join config.bots b on b.bot = d.bot
where
  b.bot = b.asked_for
  or d.claimed is not null
  and d.claimed <> case
    when d.fills is null then 0
    else d.net + case when b.costs_booked = 'when_paid' then d.open_costs else 0 end
  end
