"""The closing proofs of one account, as its document shows them: what closes, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from recon.config import Account
from recon.domain import CoverageStatus, Evidence, ProofStatus
from recon.exact import text
from recon.warehouse import Warehouse

COMPARED = {"broker_pnl": "broker_pnl", "cash": "flex_cash", "equity": "equity"}
"""The proofs of which a query gives all that it compared: no row is no evidence."""
MAX_REASONS = 8
"""Reasons of one kind that are spelt out; the rest are counted."""


def prove(
    warehouse: Warehouse, account: Account, coverage: Mapping[Evidence, CoverageStatus]
) -> tuple[dict[str, ProofStatus], dict[str, dict[str, str]], list[str]]:
    """Return what closes, by how much the others do not, by name, and why in words."""
    has_fills, has_ledger = has_each(coverage, "fills"), has_each(coverage, "ledger")
    compared = {
        "positions": _positions(warehouse, account),
        "cash": warehouse.rows(
            "select currency as name, place, difference, false as is_closed "
            "from proofs.cash where account = ? order by abs(difference), place",
            [account.id],
        ),
    }
    status: dict[str, ProofStatus] = {
        "positions": _proof(compared["positions"], has_each(coverage, "positions", "fills")),
        "cash": _proof(compared["cash"], has_each(coverage, "balances", "ledger")),
    }
    for name, query in COMPARED.items():
        rows = warehouse.rows(
            f"select name, place, difference, is_closed from proofs.{query} "
            "where account = ? order by all",
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
    reasons = [
        line
        for name, rows in compared.items()
        for line in listed(f"{name}: {_told(row)}" for row in rows)
    ]
    return status, differences, reasons


def _positions(warehouse: Warehouse, account: Account) -> list[dict[str, Any]]:
    """Return the instruments whose fills do not add up to the statement."""
    rows = warehouse.rows(
        "select instrument as name, filled_qty, statement_qty, difference "
        "from proofs.positions where account = ? order by 1",
        [account.id],
    )
    return [
        row
        | {
            "place": f"the fills add up to {text(row['filled_qty'])}, "
            f"the statement says {text(row['statement_qty'])}: a fill is missing, or the "
            f"position is older than since = {account.since} (set `since` to a day when it "
            "was flat, or name what was held then in [[accounts.opening]])"
        }
        for row in rows
    ]


def has_each(coverage: Mapping[Evidence, CoverageStatus], *evidence: Evidence) -> bool:
    """Return whether there is any of each kind of evidence at all."""
    return all(coverage.get(name, "failed") != "failed" for name in evidence)


def _told(row: Mapping[str, Any]) -> str:
    """Say what does not close, and by how much."""
    if row["difference"] is None:
        return f"{row['name']}: {row['place']}"
    return f"{row['name']}: {row['place']} ({text(row['difference'])})"


def _proof(rows: Sequence[object], has_evidence: bool) -> ProofStatus:  # noqa: FBT001
    if not has_evidence:
        return "absent"
    return "broken" if rows else "closed"


def listed(reasons: Iterable[str]) -> list[str]:
    """Return the first few reasons, and how many more there are."""
    every = list(reasons)
    rest = len(every) - MAX_REASONS
    return every if rest <= 0 else [*every[:MAX_REASONS], f"… and {rest} more like it"]
