-- grain: one order of the broker's and a bot's trade that it belongs to; key: all but rule
-- An order may close one trade and open the next: then it belongs to both.
select bot, account, trade_id, instrument, order_id, rule from causes.named
union all by name
select bot, account, trade_id, instrument, order_id, rule from causes.likely
