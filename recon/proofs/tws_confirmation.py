"""Confirmation of a TWS account by Flex statements: provisional, confirmed or contradicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recon.config.settings import TwsAccount
from recon.core.numbers import text
from recon.core.records import CoverageStatus, Evidence, ProofStatus
from recon.warehouse.database import Warehouse

UNCONFIRMED = (
    "provisional: TWS is the only source, and no statement confirms it: set confirmed_by to the "
    "ibkr-flex account of the same IBKR account"
)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How far the statements of an account confirm the evidence from TWS, with reasons.

    `vouched` has the evidence that is complete because the statements contain nothing else.
    `ledger` is the coverage of cash movements, which TWS never serves.
    """

    status: ProofStatus
    reasons: Sequence[str] = ()
    differences: Mapping[str, str] = field(default_factory=dict)
    vouched: frozenset[Evidence] = frozenset()
    ledger: CoverageStatus = "partial"


def confirm(warehouse: Warehouse, account: TwsAccount) -> Confirmation:
    """Return how the statements of `confirmed_by` confirm the account's window.

    The status is `closed` if they cover each session and agree on every execution that TWS served.
    It is `broken` if they differ on an execution. Otherwise it is `absent`: the window is
    provisional.
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
    reasons += _missed_reasons(missed, by)
    if unconfirmed := _unconfirmed_sessions(warehouse, account.id):
        reasons.append(
            f"provisional: TWS is the only source for {unconfirmed} until a Flex statement of {by} "
            "confirms it"
        )
    if differing:
        found = {row["exec_id"]: text(row["difference"]) for row in differing}
        return Confirmation("broken", reasons, found)
    if unconfirmed:
        return Confirmation("absent", reasons)
    cash = warehouse.rows(
        "from proofs.unconfirmed_cash where account = ? order by all", [account.id]
    )
    reasons += [
        f"ledger: {by} has {row['kind']} of {text(row['amount'])} {row['currency']} in session "
        f"{row['session_date']}, and TWS serves no cash: judge the bots by {by}"
        for row in cash
    ]
    return Confirmation(
        "closed",
        reasons,
        vouched=frozenset() if missed else frozenset({"fills"}),
        ledger="partial" if cash else "complete",
    )


def _unconfirmed_sessions(warehouse: Warehouse, account: str) -> str:
    """Return the sessions without a statement, in words; "" if there are none."""
    [row] = warehouse.rows(
        "select count(*) as sessions, min(session_date) as oldest from proofs.confirmed_sessions "
        "where account = ? and not is_covered",
        [account],
    )
    if row["sessions"] <= 1:
        return f"session {row['oldest']}" if row["sessions"] else ""
    return f"{row['sessions']} sessions since {row['oldest']}"


def _missed_reasons(rows: Sequence[Mapping[str, Any]], by: str) -> list[str]:
    if not rows:
        return []
    first = f"{rows[0]['exec_id']} ({rows[0]['instrument']})"
    reason = (
        f"fills: {by} has {len(rows)} executions from times when TWS was not asked, the first "
        f"{first}: TWS serves only the current day: also run before its midnight, or set a later "
        "`since`"
    )
    return [reason]
