"""Manifests, in the control ledger: what each committed run left in the warehouse.

One is written before the warehouse commits, and marked after. So the warehouse holds what the last
marked one says, or a later one that was not marked in time: anything else is a loss, and is noticed
before a run builds upon it.
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
"""Of so many manifests it is known what the warehouse was, where it has lost something."""


class Manifest(NamedTuple):
    """How many rows each table has that cannot be made again, and a hash of what is published."""

    rows: Mapping[str, int]
    sha256: str

    def differs(self, other: Manifest) -> list[str]:
        """Return in words what `other` has otherwise than this one."""
        names = sorted({*self.rows, *other.rows})
        found = [
            f"{name}: {other.rows.get(name, 'no table of this name')} rows, not {self.rows[name]}"
            if name in self.rows
            else f"{name}: a table that was not there"
            for name in names
            if self.rows.get(name) != other.rows.get(name)
        ]
        return found or ["what is published reads otherwise"] * (self.sha256 != other.sha256)


class Held(NamedTuple):
    """What one commit was to leave behind: the rows of each table, and whether it was made."""

    run: str
    is_committed: bool
    rows: Mapping[str, int]


def begin(db: sqlite3.Connection, run: str, manifest: Manifest, at: datetime) -> int:
    """Note what a run is about to commit, within the caller's transaction; return its number."""
    number = db.execute(
        "insert into manifests (run, at, rows, sha256, is_committed) values (?, ?, ?, ?, 0)",
        (run, at.isoformat(), json.dumps(dict(manifest.rows)), manifest.sha256),
    ).lastrowid
    if number is None:
        raise AssertionError("SQLite numbers every row")
    return number


def commit(db: sqlite3.Connection, number: int) -> None:
    """Note that the warehouse has committed it, within the caller's transaction."""
    db.execute("update manifests set is_committed = 1 where manifest = ?", (number,))


def history(db: sqlite3.Connection) -> list[Held]:
    """Return what the warehouse was to hold, the latest first; of what is long ago, nothing."""
    rows = db.execute("select * from manifests order by manifest desc limit ?", (REMEMBERED,))
    return [Held(row["run"], bool(row["is_committed"]), json.loads(row["rows"])) for row in rows]


def last(db: sqlite3.Connection) -> Manifest:
    """Return the last one that was committed. Raises LookupError where there is none."""
    row = db.execute(
        "select rows, sha256 from manifests where is_committed order by manifest desc"
    ).fetchone()
    if row is None:
        raise LookupError("nothing was committed yet")
    return Manifest(json.loads(row["rows"]), row["sha256"])
