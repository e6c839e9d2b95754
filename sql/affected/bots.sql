-- grain: one bot, numbered for the compiled kernel; -1 is nobody
select bot, (row_number() over (order by bot) - 1)::integer as code
from config.bots
