"""What a Flex statement says to what TWS said: provisional, confirmed, or contradicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recon.config.settings import TwsAccount
from recon.core.numbers import text
from recon.core.records import CoverageStatus, Evidence, ProofStatus
from recon.warehouse.database import Warehouse

UNCONFIRMED = (
    "provisional: TWS alone says so, and nothing confirms it: name the ibkr-flex account of the "
    "same IBKR account as confirmed_by"
)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How far an account's statements bear out what TWS told of it, and why not further.

    `vouched` is the evidence that is whole because the statements say that there was nothing else.
    `ledger` stands for evidence that TWS never gives: movements of cash.
    """

    status: ProofStatus
    reasons: Sequence[str] = ()
    differences: Mapping[str, str] = field(default_factory=dict)
    vouched: frozenset[Evidence] = frozenset()
    ledger: CoverageStatus = "partial"


def confirm(warehouse: Warehouse, account: TwsAccount) -> Confirmation:
    """Return what the statements of `confirmed_by` say of the account's window.

    `closed` where they cover each of its sessions and tell every execution that TWS served alike;
    `broken` where they tell one otherwise; else `absent`, and all of it is provisional.
    """
    by = account.confirmed_by
    if by is None:
        return Confirmation("absent", (UNCONFIRMED,))
    rows = warehouse.rows("from proofs.confirmed where account = ? order by exec_id", [account.id])
    differing = [row for row in rows if not row["is_missed"]]
    missed = [row for row in rows if row["is_missed"]]
    reasons = [
        f"confirmed: execution {row['exec_id']} ({row['instrument']}): {row['place']} "
        f"({text(row['difference'])}); the statement of {by} counts"
        for row in differing
    ]
    reasons += _missed(missed, by)
    if waiting := _waiting(warehouse, account.id):
        reasons.append(
            f"provisional: of {waiting}, TWS alone says so, until the Flex statement of {by} "
            "confirms it"
        )
    if differing:
        found = {row["exec_id"]: text(row["difference"]) for row in differing}
        return Confirmation("broken", reasons, found)
    if waiting:
        return Confirmation("absent", reasons)
    cash = warehouse.rows(
        "from proofs.unconfirmed_cash where account = ? order by all", [account.id]
    )
    reasons += [
        f"ledger: {by} has {row['kind']} of {text(row['amount'])} {row['currency']} in session "
        f"{row['session_date']}, and TWS tells of no cash: hold the bots against {by}"
        for row in cash
    ]
    return Confirmation(
        "closed",
        reasons,
        vouched=frozenset() if missed else frozenset({"fills"}),
        ledger="partial" if cash else "complete",
    )


def _waiting(warehouse: Warehouse, account: str) -> str:
    """Return which sessions no statement covers, in words; "" where each has one."""
    [row] = warehouse.rows(
        "select count(*) as sessions, min(session_date) as oldest from proofs.confirmed_sessions "
        "where account = ? and not is_covered",
        [account],
    )
    if row["sessions"] <= 1:
        return f"session {row['oldest']}" if row["sessions"] else ""
    return f"{row['sessions']} sessions since {row['oldest']}"


def _missed(rows: Sequence[Mapping[str, Any]], by: str) -> list[str]:
    if not rows:
        return []
    first = f"{rows[0]['exec_id']} ({rows[0]['instrument']})"
    reason = (
        f"fills: {by} has {len(rows)} executions of times in which TWS was not asked, the first "
        f"{first}: TWS tells of today alone; run before its midnight, too, or set `since` later"
    )
    return [reason]
