-- grain: what one owner has open of one instrument when the window ends; key: account, scope, bot,
-- instrument, position_side. `cost` is signed as cash is, in the instrument's own currency.
from pnl.open_lots
