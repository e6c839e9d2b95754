"""Restatement: which sessions are told otherwise than an earlier night told them, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from recon.core.numbers import EXACT, text
from recon.warehouse.database import Warehouse

MOST_REASONS = 3
"""Reasons for one session that are spelt out; the rest are counted."""
NOUNS = {
    "fills": "fill",
    "fee": "fee",
    "tax": "tax entry",
    "interest": "interest entry",
    "order record": "order record",
    "assignment": "assignment",
}


def restated(warehouse: Warehouse, accounts: Collection[str]) -> list[dict[str, Any]]:
    """Return the sessions of these accounts of which something else was told before.

    One entry an owner and session, the oldest first: of the account itself (`bot` null), and bots.
    `from`, `to` and `moved` are net, decimal text in the account's currency, null where unknown.
    """
    rows = warehouse.rows(
        "from restated.sessions where scope = 'account' or bot is not null "
        "order by account, session_date, scope, bot"
    )
    reasons = warehouse.rows("from restated.reasons order by session_date, instrument, what")
    return [
        {
            "account": row["account"],
            "bot": row["bot"],
            "session": row["session_date"].isoformat(),
            "from": _shown(row["net_before"]),
            "to": _shown(row["net"]),
            "moved": _moved(row),
            "reason": _reasons(row["account"], row["session_date"], reasons),
        }
        for row in rows
        if row["account"] in accounts
    ]


def _moved(row: Mapping[str, Any]) -> str | None:
    if row["net"] is None or row["net_before"] is None:
        return None
    return text(EXACT.subtract(row["net"], row["net_before"]))


def _reasons(account: str, session: date, reasons: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what came, changed or went tonight, in the session or before it."""
    found = [
        f"{row['n']} {_noun(row['what'], row['n'])} of {row['instrument'] or 'the account'}, "
        f"session {row['session_date']}, came, changed or went"
        for row in reasons
        if row["account"] == account and row["session_date"] <= session
    ]
    rest = len(found) - MOST_REASONS
    if not found:
        return ["worked out anew: other settings, another release, or evidence of earlier nights"]
    return found if rest <= 0 else [*found[:MOST_REASONS], f"… and {rest} more like it"]


def _noun(what: str, count: int) -> str:
    noun = NOUNS.get(what, f"{what} entry")
    if count == 1:
        return noun
    return noun.removesuffix("y") + "ies" if noun.endswith("y") else f"{noun}s"


def _shown(value: Decimal | None) -> str | None:
    return None if value is None else text(value)
