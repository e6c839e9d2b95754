-- What was staged tonight is in the evidence, once. Returns what is not.
select s.account, s.source_kind, s.fill_id as id, count(e.fill_id) as times
from staging.fills s
left join evidence.fills e on e.account = s.account and e.fill_id = s.fill_id
group by all
having count(e.fill_id) <> 1
union all
select s.account, s.source_kind, s.entry_id, count(e.entry_id)
from staging.ledger s
left join evidence.ledger e on e.account = s.account and e.entry_id = s.entry_id
group by all
having count(e.entry_id) <> 1
