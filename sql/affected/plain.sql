-- grain: one instrument whose lots the plain kernel alone can run; key: account, instrument
-- The compiled one knows neither the broker's own lots nor corporate actions, and does not say which
-- bots held a position when a fill changed it that nobody owns.
select account, instrument
from affected.keys
semi join (from config.accounts where broker_lots is not null) using (account)
union
select account, instrument
from affected.keys
semi join (from affected.events where is_unowned) using (account, instrument)
semi join (
  select account, instrument from affected.events where bot is not null
  union all
  select account, instrument from lots.closing_books where bot is not null and qty <> 0
) using (account, instrument)
