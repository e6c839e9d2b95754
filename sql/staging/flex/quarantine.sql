-- grain: one row of a statement that cannot be read, and why; key: account, kind, id
-- The rule of the account: every Trade, TradeConfirm and CashTransaction row in raw, and every
-- OpenPosition row of the latest statement, has exactly one verdict. It is staged (a fill, a cash
-- movement, a position), or known to restate what is staged, or here.
-- audits/flex_conservation.sql asserts that from raw itself.
select account, kind, id, reason
from staging.flex_parsed_fills
where verdict = 'quarantined'
union all by name
select account, 'CashTransaction' as kind, id, reason
from staging.flex_parsed_ledger
where verdict = 'quarantined'
union all by name
select account, 'OpenPosition' as kind, id, reason
from staging.flex_parsed_positions
where reason is not null and not is_restated
