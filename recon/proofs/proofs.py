"""The closing proofs of one account, as its document shows them: what closes, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from recon.config.settings import Account
from recon.core.numbers import text
from recon.core.records import CoverageStatus, Evidence, ProofStatus
from recon.warehouse.database import Warehouse

COMPARED = {"broker_pnl": "broker_pnl", "cash": "flex_cash", "equity": "equity"}
"""The proofs of which a query gives all that it compared: no row is no evidence."""
OF_INSTRUMENTS = ("broker_pnl",)
"""The proofs of `COMPARED` whose rows are named by instrument; the others are by currency."""
MAX_REASONS = 8
"""Reasons of one kind that are spelt out; the rest are counted."""


class Proofs(NamedTuple):
    """What closes of an account, and what does not.

    `differences` are by proof and name. `reasons` and `is_sound` leave out what an instrument's own
    finding explains: `is_sound` says that nothing else is broken. `reasons` leave out, too, what a
    record that cannot be read explains, and what no evidence of the other side was fetched for.
    """

    status: dict[str, ProofStatus]
    differences: dict[str, dict[str, str]]
    reasons: list[str]
    is_sound: bool


def prove(
    warehouse: Warehouse, account: Account, coverage: Mapping[Evidence, CoverageStatus]
) -> Proofs:
    """Return the closing proofs of an account."""
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
    explained = _found(warehouse, account)
    unexplained = {
        name: [row for row in rows if row["instrument"] not in explained]
        for name, rows in compared.items()
    }
    causes = warehouse.rows(
        "select proof, instrument, currency from proofs.explained where account = ?", [account.id]
    )
    reasons = [
        line
        for name, rows in unexplained.items()
        if status.get(name) != "absent"
        for line in listed(
            f"{name}: {_told(row)}"
            for row in rows
            if (has_fills or name != "cash" or row["instrument"] is None)
            and not any(_explains(cause, name, row) for cause in causes)
        )
    ]
    is_sound = all(unexplained[name] == [] for name in status if status[name] == "broken")
    return Proofs(status, differences, reasons, is_sound)


def _found(warehouse: Warehouse, account: Account) -> set[str]:
    """Return the instruments of which a finding already says why they are not proven."""
    rows = warehouse.rows(
        "select instrument from proofs.findings where account = ? and instrument is not null",
        [account.id],
    )
    return {row["instrument"] for row in rows}


def _explains(cause: Mapping[str, Any], proof: str, row: Mapping[str, Any]) -> bool:
    """Return whether a record that is named already accounts for a difference of a proof."""
    currency = None if row["instrument"] == row["name"] else row["name"]
    return (
        cause["proof"] == proof
        and cause["instrument"] in (None, row["instrument"])
        and cause["currency"] in (None, currency)
    )


def _positions(warehouse: Warehouse, account: Account) -> list[dict[str, Any]]:
    """Return the instruments whose fills do not add up to the statement."""
    rows = warehouse.rows(
        "select instrument as name, instrument, filled_qty, statement_qty, difference "
        "from proofs.positions where account = ? order by 1",
        [account.id],
    )
    return [row | {"place": _place(row, account)} for row in rows]


def _place(row: Mapping[str, Any], account: Account) -> str:
    """Say how the fills of an instrument differ from the statement, and what to do."""
    if row["filled_qty"] == row["statement_qty"]:
        return "the statement has a position that was closed, and there is no fill of it"
    return (
        f"the fills add up to {text(row['filled_qty'])}, the statement says "
        f"{text(row['statement_qty'])}: a fill is missing or doubled, or the position is older "
        f"than since = {account.since} (set `since` to a day when it was flat, or name what was "
        "held then in [[accounts.opening]])"
    )


def has_each(coverage: Mapping[Evidence, CoverageStatus], *evidence: Evidence) -> bool:
    """Return whether there is any of each kind of evidence at all."""
    return all(coverage.get(name, "failed") != "failed" for name in evidence)


def _told(row: Mapping[str, Any]) -> str:
    """Say what does not close, and by how much."""
    if row["difference"] is None:
        return f"{row['name']}: {row['place']}"
    return f"{row['name']}: {row['place']} ({text(row['difference'])})"


def _proof(rows: Sequence[object], has_evidence: bool) -> ProofStatus:
    if not has_evidence:
        return "absent"
    return "broken" if rows else "closed"


def listed(reasons: Iterable[str]) -> list[str]:
    """Return the first few reasons, and how many more there are."""
    every = list(reasons)
    rest = len(every) - MAX_REASONS
    return every if rest <= 0 else [*every[:MAX_REASONS], f"… and {rest} more like it"]
