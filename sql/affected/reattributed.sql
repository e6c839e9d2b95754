-- grain: one fill of which the owner may be another tonight, and why; key: all columns
-- `what`: the record of its order came or changed, or a person has assigned it.
-- let: placed_from = select coalesce(min(coalesce(placed_at - interval 1 day, timestamp '0001-01-01')), timestamp '9999-12-31') from changed.orders
select f.account, f.instrument, f.session_date, f.at, f.seq, 'order record' as what
from evidence.fills f
semi join changed.orders o on o.account = f.account and o.order_id = f.order_id
where f.at >= getvariable('placed_from')
union all by name
select f.account, f.instrument, f.session_date, f.at, f.seq, 'assignment' as what
from evidence.fills f
semi join changed.assignments x
  on x.account = f.account and x.is_order = (f.order_id is not null)
  and x.id = coalesce(f.order_id, f.fill_id)
