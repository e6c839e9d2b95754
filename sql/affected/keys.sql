-- grain: one instrument whose lots are run again, numbered in order for the compiled kernel
select account, instrument, (row_number() over (order by account, instrument) - 1)::integer as key
from affected.lots
