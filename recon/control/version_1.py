"""Migrate a control database of version 1 to version 2: names change, and nothing is lost."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

SHAPE = 8
"""The `user_version` of the control database of version 1."""
FILE = "ledger.sqlite"
"""The name of its file in the state folder."""
TABLES = {
    "raw.standing": "raw.latest_state",
    "raw.moved": "raw.retimed",
    "raw.again": "raw.restage_requests",
    "raw.recipes": "raw.build_fingerprints",
    "told.by_session": "reports.by_session",
    "told.through": "reports.through",
    "told.since": "reports.since",
    "told.tonight": "reports.this_run",
}
"""Tables of the warehouse that manifests count, and their names in version 2."""
INCIDENTS = {"back": "regressed", "future": "clock_ahead", "idle": "no_bars"}
KINDS = {"total": "window", "day": "session"}


def migrate(db: sqlite3.Connection) -> None:
    """Migrate the tables, within the caller's transaction. The journal stays unchanged."""
    for old, new in (
        ("amount", "divergence"),
        ("truth", "broker"),
        ("acknowledged_amount", "acknowledged_divergence"),
    ):
        db.execute(f"alter table breaks rename column {old} to {new}")
    for old, new in KINDS.items():
        db.execute("update breaks set kind = ? where kind = ?", (new, old))
    for old, new in INCIDENTS.items():
        db.execute("update watched_incidents set kind = ? where kind = ?", (new, old))
    for number, rows in db.execute("select manifest, rows from manifests").fetchall():
        counted = {TABLES.get(name, name): count for name, count in json.loads(rows).items()}
        db.execute(
            "update manifests set rows = ? where manifest = ?", (json.dumps(counted), number)
        )
    for run, text in db.execute("select run, document from runs where document is not null"):
        db.execute(
            "update runs set document = ? where run = ?",
            (json.dumps(as_version_2(json.loads(text))), run),
        )


def as_version_2(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of version 1 with the keys of version 2. Its figures stay as reported."""
    return {
        "schema": 2,
        **{name: document[name] for name in ("run", "as_of", "status")},
        "accounts": [_account(one) for one in document["accounts"]],
        "bots": [_bot(one) for one in document["bots"]],
        "restatements": [
            {**{k: v for k, v in one.items() if k != "why"}, "reason": one["why"]}
            for one in document.get("restated", ())
        ],
        "findings": [],
        "violations": [],
        "breaks": [_break(one) for one in document.get("breaks", ())],
        "journal": document.get("journal"),
        "pages": document.get("pages", []),
    }


def _account(one: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {"total": "window", "valued": "valuation"}
    found = {renamed.get(name, name): value for name, value in one.items()}
    differences = one["proofs"].get("difference", {})
    found["proofs"] = {
        name: _proof(status, differences.get(name, {}))
        for name, status in one["proofs"].items()
        if name != "difference"
    }
    found["window"] = _figures(one["total"])
    return found


def _proof(status: str, differences: Mapping[str, str]) -> dict[str, Any]:
    only = next(iter(differences.values())) if len(differences) == 1 else None
    return {"status": status, "difference": only, "differences": dict(differences)}


def _figures(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"open_costs" if name == "carried" else name: value for name, value in one.items()}


def _bot(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: one[name] for name in ("bot", "account", "status")},
        "window": _span(one["total"], one.get("causes", [])),
        "session": _span(one["day"], one["day"].get("causes", [])),
        "signed_off": one.get("signed_off"),
        "unproven_by_account": one["status"] == "unproven"
        and one["reasons"] != []
        and all(each.startswith(f"its account {one['account']} is ") for each in one["reasons"]),
        "reasons": one["reasons"],
    }


def _span(one: Mapping[str, Any], causes: list[Any]) -> dict[str, Any]:
    return {
        "claimed": one["claimed"],
        "broker": _figures(one["truth"]),
        "divergence": one["amount"],
        "divergence_pct": one["pct"],
        "causes": causes,
    }


def _break(one: Mapping[str, Any]) -> dict[str, Any]:
    moved = ("kind", "amount", "who", "at", "why")
    action = {"by": one["who"], "at": one["at"], "reason": one["why"]} if one.get("who") else None
    return {
        **{name: value for name, value in one.items() if name not in moved},
        "kind": KINDS.get(one["kind"], one["kind"]),
        "divergence": one["amount"],
        "last_action": action,
    }
