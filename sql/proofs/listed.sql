-- grain: an instrument that the venue lists, or has listed on any night; key: account, instrument
-- Of an exchange of ccxt's these are the ones that were traded, held or named, and some named alike.
select account, instrument from staging.okx_instruments
union
select account, instrument from staging.ccxt_instruments
