-- grain: one record of an exchange of ccxt's that cannot be read, and why; key: account, kind, id
select account, 'trade' as kind, fill_id as id, reason
from staging.ccxt_parsed_fills
where reason is not null
union all by name
select account, 'funding' as kind, entry_id as id, reason
from staging.ccxt_parsed_funding
where reason is not null
union all by name
select account, 'position' as kind, position_id as id, reason
from staging.ccxt_parsed_positions
where reason is not null
union all by name
select account, 'coin' as kind, currency as id, 'what is held of ' || currency || ' is not an amount' as reason
from staging.ccxt_balances
where amount is null
