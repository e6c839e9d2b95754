-- grain: an instrument that an account's own evidence names; key: account, instrument
select account, instrument from evidence.traded
union
select account, instrument from evidence.ledger where instrument is not null
union
select account, instrument from evidence.closed_positions
union
select account, instrument from staging.positions
union
select account, instrument from config.opening
