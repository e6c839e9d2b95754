"""The causes of a divergence, as the document and `recon explain` show them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from recon.core.numbers import EXACT, text
from recon.errors import IdentityError
from recon.warehouse.database import Warehouse

BY_CAUSE = """
select f.cause, sum(f.amount) as amount, count(distinct f.trade_id) as trades
from causes.found f
join config.bots b on b.bot = f.bot
join config.accounts a on a.account = b.account
where f.bot = $bot and ($span = 'window' or f.session_date = a.last_date)
group by f.cause
having sum(f.amount) <> 0
order by f.cause = 'unexplained', abs(sum(f.amount)) desc, f.cause
"""


def causes_of(
    warehouse: Warehouse, bot: str, span: str, amount: str | None
) -> list[dict[str, Any]]:
    """Return the causes of a bot's divergence `amount` (decimal text), the largest first.

    `unexplained` is always the last cause, also where it is 0. An unknown divergence has no causes.
    Raises IdentityError if the causes do not add up to the divergence.
    """
    if amount is None:
        return []
    found = warehouse.rows(BY_CAUSE, {"bot": bot, "span": span})
    if not found or found[-1]["cause"] != "unexplained":
        found.append({"cause": "unexplained", "amount": Decimal(0), "trades": 0})
    whole = Decimal(0)
    for row in found:
        whole = EXACT.add(whole, row["amount"])
    if text(whole) != amount:
        raise IdentityError(
            f"the causes of {bot} ({span}) add up to {text(whole)}, and its divergence is {amount}"
        )
    return [row | {"amount": text(row["amount"])} for row in found]
