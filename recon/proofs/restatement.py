"""Restatements: sessions whose reported figures changed after new evidence, with reasons."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from recon.core.numbers import EXACT, text
from recon.warehouse.database import Warehouse

MOST_REASONS = 3
"""The most reasons for one session that are written out. The rest are counted."""
NOUNS = {
    "fills": "fill",
    "fee": "fee",
    "tax": "tax entry",
    "interest": "interest entry",
    "order record": "order record",
    "assignment": "assignment",
}


def restated(warehouse: Warehouse, accounts: Collection[str]) -> list[dict[str, Any]]:
    """Return the restated sessions of these accounts: their figures differ from the last report.

    There is one entry for each owner and session, the oldest first. The owner is a bot or the
    account itself (`bot` null). `from`, `to` and `moved` are net, decimal text in the account's
    currency, null where unknown.
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
            "from": _text_or_none(row["net_before"]),
            "to": _text_or_none(row["net"]),
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
    """Return the records that this run added, changed or removed, up to the session."""
    found = [
        f"{row['n']} {_noun(row['what'], row['n'])} of {row['instrument'] or 'the account'}, "
        f"session {row['session_date']}: added, changed or removed"
        for row in reasons
        if row["account"] == account and row["session_date"] <= session
    ]
    rest = len(found) - MOST_REASONS
    if not found:
        return ["computed again: other settings, another release, or evidence of earlier runs"]
    return found if rest <= 0 else [*found[:MOST_REASONS], f"… and {rest} more"]


def _noun(what: str, count: int) -> str:
    noun = NOUNS.get(what, f"{what} entry")
    if count == 1:
        return noun
    return noun.removesuffix("y") + "ies" if noun.endswith("y") else f"{noun}s"


def _text_or_none(value: Decimal | None) -> str | None:
    return None if value is None else text(value)
