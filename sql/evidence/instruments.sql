-- grain: one kind and settlement currency of an instrument that was traded; key: all columns
select distinct account, instrument, instrument_kind, currency
from evidence.traded
