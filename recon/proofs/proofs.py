"""The closing proofs of one account: the status of each, its differences and the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from recon.config.settings import Account
from recon.core.numbers import text
from recon.core.records import CoverageStatus, Evidence, ProofStatus
from recon.warehouse.database import Warehouse

COMPARED = {"broker_pnl": "broker_pnl", "cash": "flex_cash", "equity": "equity"}
"""The proofs whose query returns every comparison, by name. No row means no evidence."""
OF_INSTRUMENTS = ("broker_pnl",)
"""The proofs in `COMPARED` with one row for each instrument. The others have one by currency."""
MAX_REASONS = 8
"""The most reasons of one kind that are written out. The rest are counted."""


class Proofs(NamedTuple):
    """The proofs of an account: status by proof, differences by proof and name, and reasons.

    `reasons` and `is_sound` omit differences that a finding on the instrument explains. `is_sound`
    says that no other proof is broken. `reasons` also omit differences that an unreadable record
    explains, and differences without evidence of the other side.
    """

    status: dict[str, ProofStatus]
    differences: dict[str, dict[str, str]]
    reasons: list[str]
    is_sound: bool


def prove(
    warehouse: Warehouse, account: Account, coverage: Mapping[Evidence, CoverageStatus]
) -> Proofs:
    """Return the closing proofs of an account, given the coverage of its evidence."""
    has_fills, has_ledger = has_each(coverage, "fills"), has_each(coverage, "ledger")
    compared = {
        "positions": _positions(warehouse, account),
        "cash": warehouse.rows(
            "select currency as name, instrument, place, difference, false as is_closed "
            "from proofs.cash where account = ? order by abs(difference), place",
            [account.id],
        ),
    }
    status: dict[str, ProofStatus] = {
        "positions": _proof(compared["positions"], has_each(coverage, "positions", "fills")),
        "cash": _proof(compared["cash"], has_each(coverage, "balances", "ledger")),
    }
    for name, query in COMPARED.items():
        instrument = "name" if name in OF_INSTRUMENTS else "null"
        rows = warehouse.rows(
            f"select name, {instrument} as instrument, place, difference, is_closed "
            f"from proofs.{query} where account = ? order by all",
            [account.id],
        )
        if name not in status or rows:
            compared[name] = [row for row in rows if not row["is_closed"]]
            status[name] = _proof(compared[name], bool(rows) and has_fills and has_ledger)
    differences = {
        name: {row["name"]: text(row["difference"] or Decimal(0)) for row in rows}
        for name, rows in compared.items()
        if rows
    }
    with_finding = _instruments_with_finding(warehouse, account)
    without_finding = {
        name: [row for row in rows if row["instrument"] not in with_finding]
        for name, rows in compared.items()
    }
    causes = warehouse.rows(
        "select proof, instrument, currency from proofs.explained where account = ?", [account.id]
    )
    reasons = [
        line
        for name, rows in without_finding.items()
        if status.get(name) != "absent"
        for line in listed(
            f"{name}: {_difference_line(row)}"
            for row in rows
            if (has_fills or name != "cash" or row["instrument"] is None)
            and not any(_explains(cause, name, row) for cause in causes)
        )
    ]
    is_sound = all(without_finding[name] == [] for name in status if status[name] == "broken")
    return Proofs(status, differences, reasons, is_sound)


def _instruments_with_finding(warehouse: Warehouse, account: Account) -> set[str]:
    """Return the instruments that a finding makes unproven."""
    rows = warehouse.rows(
        "select instrument from proofs.findings where account = ? and instrument is not null",
        [account.id],
    )
    return {row["instrument"] for row in rows}


def _explains(cause: Mapping[str, Any], proof: str, row: Mapping[str, Any]) -> bool:
    """Return whether an unreadable record, named elsewhere, explains a difference of a proof."""
    currency = None if row["instrument"] == row["name"] else row["name"]
    return (
        cause["proof"] == proof
        and cause["instrument"] in (None, row["instrument"])
        and cause["currency"] in (None, currency)
    )


def _positions(warehouse: Warehouse, account: Account) -> list[dict[str, Any]]:
    """Return the instruments whose fills do not add up to the statement's position."""
    rows = warehouse.rows(
        "select instrument as name, instrument, filled_qty, statement_qty, difference "
        "from proofs.positions where account = ? order by 1",
        [account.id],
    )
    return [row | {"place": _position_explanation(row, account)} for row in rows]


def _position_explanation(row: Mapping[str, Any], account: Account) -> str:
    """Return how the fills of an instrument differ from the statement, and what to do."""
    if row["filled_qty"] == row["statement_qty"]:
        return "the statement has a closed position without a fill: a fill is missing, run again"
    return (
        f"the fills add up to {text(row['filled_qty'])}, the statement says "
        f"{text(row['statement_qty'])}: a fill is missing or doubled, or the position is older "
        f"than since = {account.since} (set `since` to a date when it was flat, or name the "
        "position held then in [[accounts.opening]])"
    )


def has_each(coverage: Mapping[Evidence, CoverageStatus], *evidence: Evidence) -> bool:
    """Return whether there is some evidence of each kind."""
    return all(coverage.get(name, "failed") != "failed" for name in evidence)


def _difference_line(row: Mapping[str, Any]) -> str:
    """Return a line with the name, the explanation and the amount of a difference."""
    if row["difference"] is None:
        return f"{row['name']}: {row['place']}"
    return f"{row['name']}: {row['place']} ({text(row['difference'])})"


def _proof(rows: Sequence[object], has_evidence: bool) -> ProofStatus:
    if not has_evidence:
        return "absent"
    return "broken" if rows else "closed"


def listed(reasons: Iterable[str]) -> list[str]:
    """Return the first `MAX_REASONS` reasons, and a line with the number of the others."""
    every = list(reasons)
    rest = len(every) - MAX_REASONS
    return every if rest <= 0 else [*every[:MAX_REASONS], f"… and {rest} more"]
