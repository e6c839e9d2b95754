"""Manifests in the control database: the content of the warehouse after each commit.

A manifest is written before the warehouse commits, and marked afterwards. So the warehouse matches
the last marked manifest, or a later one that was not marked in time. Anything else is a loss, which
is noticed before a run builds on it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

SHAPE = (
    """
    create table manifests (
      manifest integer primary key, run text not null, at text not null, rows text not null,
      sha256 text not null, is_committed integer not null
    ) strict
    """,
)

REMEMBERED = 50
"""How many manifests are compared with a warehouse that has lost something."""


class Manifest(NamedTuple):
    """The row counts of the tables that cannot be rebuilt, and a hash of the published tables."""

    rows: Mapping[str, int]
    sha256: str

    def differs(self, other: Manifest) -> list[str]:
        """Return the differences of `other` from this manifest, as sentences."""
        names = sorted({*self.rows, *other.rows})
        found = [
            _difference(name, self.rows.get(name), other.rows.get(name))
            for name in names
            if self.rows.get(name) != other.rows.get(name)
        ]
        return found or ["the published tables differ"] * (self.sha256 != other.sha256)


def _difference(name: str, before: int | None, now: int | None) -> str:
    if now is None:
        return f"{name} is missing"
    return f"{name} is a new table" if before is None else f"{name} has {now} rows, not {before}"


class Held(NamedTuple):
    """The manifest of one commit: the rows of each table, and whether the commit was made."""

    run: str
    is_committed: bool
    rows: Mapping[str, int]


def begin(db: sqlite3.Connection, run: str, manifest: Manifest, at: datetime) -> int:
    """Record the manifest of a coming commit, in the caller's transaction; return its number."""
    number = db.execute(
        "insert into manifests (run, at, rows, sha256, is_committed) values (?, ?, ?, ?, 0)",
        (run, at.isoformat(), json.dumps(dict(manifest.rows)), manifest.sha256),
    ).lastrowid
    if number is None:
        raise AssertionError("SQLite numbers every row")
    return number


def commit(db: sqlite3.Connection, number: int) -> None:
    """Record that the warehouse has committed a manifest, within the caller's transaction."""
    db.execute("update manifests set is_committed = 1 where manifest = ?", (number,))


def history(db: sqlite3.Connection) -> list[Held]:
    """Return the last manifests, the latest first."""
    rows = db.execute("select * from manifests order by manifest desc limit ?", (REMEMBERED,))
    return [Held(row["run"], bool(row["is_committed"]), json.loads(row["rows"])) for row in rows]


def last(db: sqlite3.Connection) -> Manifest:
    """Return the last committed manifest. Raises LookupError if there is none."""
    row = db.execute(
        "select rows, sha256 from manifests where is_committed order by manifest desc"
    ).fetchone()
    if row is None:
        raise LookupError("no manifest was committed yet")
    return Manifest(json.loads(row["rows"]), row["sha256"])
