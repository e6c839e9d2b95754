-- grain: one order of the broker's and a bot's trade that it belongs to; key: all but rule
-- An order may close one trade and open the next: then it belongs to both. `event_id` is null for all fills of
-- the order; where books have a row for each fill, `recon/breaks/causes/fill_rows.py` puts the row's own fills here.
select bot, account, trade_id, instrument, order_id, null::varchar as event_id, rule from causes.id_matches
union all by name
select bot, account, trade_id, instrument, order_id, null::varchar as event_id, rule from causes.fuzzy_matches
