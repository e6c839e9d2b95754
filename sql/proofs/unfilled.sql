-- grain: one position that the venue says was closed, and of which there is no fill at all
-- replaces: exists (from affected.instruments t where t.account = k.account and t.instrument = k.instrument and k.closed_at >= t.from_at - interval 1 minute)
select c.*
from evidence.closed_positions c
join affected.instruments t
  on t.account = c.account and t.instrument = c.instrument
  and c.closed_at >= t.from_at - interval 1 minute
anti join evidence.fills f
  on f.account = c.account and f.instrument = c.instrument
  and f.at <= c.closed_at + interval 1 minute and f.at >= c.opened_at - interval 1 minute
