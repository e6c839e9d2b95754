-- Every fill inside the window is fed to the lots once, whoever owns it. Returns those that are not.
select account, kind, event_id, count(*) as times
from affected.events
group by account, kind, event_id
having count(*) > 1
