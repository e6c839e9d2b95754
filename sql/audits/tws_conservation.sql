-- Every execution, commission and position of TWS's has one place: staged, quarantined, or known to
-- be replaced or restated by others. Returns the records that have none, or several. Counted from raw.
with places as (
  select account, source_kind as kind, source_id as id, 'fills' as place from staging.tws_fills
  union all
  select f.account, 'commission', f.source_id, 'fills'
  from staging.tws_fills f
  union all
  select account, unnest(['execution', 'commission']), exec_id, verdict
  from staging.tws_parsed_executions
  where verdict in ('superseded', 'restated', 'conversion')
  union all
  select account, 'position', id, 'positions' from staging.tws_parsed_positions where reason is null
  union all
  select account, kind, id, 'quarantine' from staging.tws_quarantine
)

select r.account, r.kind, r.id, count(p.place) as places, string_agg(p.place, ', ') as found_in
from raw.staged_records r
join config.accounts a on a.venue = r.venue and a.account = r.account
left join places p on p.account = r.account and p.kind = r.kind and p.id = r.id
where r.venue = 'ibkr-tws' and r.kind in ('execution', 'commission', 'position')
group by r.account, r.kind, r.id
having count(p.place) <> 1
union all
-- Of a family one at most is a fill.
select account, 'execution', execution_family(fill_id), count(*), 'fills'
from staging.tws_fills
group by account, execution_family(fill_id)
having count(*) > 1
