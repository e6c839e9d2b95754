"""Open the file of the control database, and migrate an old one in place.

`pragma user_version` is the version of the file's schema. A file of version 1 is migrated
(`version_1.py`).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from recon.control import (
    breaks,
    expected_sessions,
    heartbeat_incidents,
    journal,
    manifests,
    outbox,
    reply_cursors,
    version_1,
)
from recon.control.transaction import transaction
from recon.errors import ConfigError, clean_up

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another. Each holds the file for one short transaction."""


def open_control(path: Path) -> sqlite3.Connection:
    """Open the control database at `path`, created or migrated if necessary.

    Raises ConfigError for a file of a later release.
    """
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    db.row_factory = sqlite3.Row
    try:
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        _bring_up(db, path)
    except BaseException as error:
        clean_up(db.close, after=error)
        raise
    return db


def _bring_up(db: sqlite3.Connection, path: Path) -> None:
    if _shape(db) == SHAPE:
        return
    with transaction(db):
        shape = _shape(db)  # another process may have been faster
        if shape == SHAPE:
            return
        if shape > SHAPE:
            raise ConfigError(
                f"{path} was written by a later release of recon (its schema is {shape}, this "
                f"release knows {SHAPE}): use that release"
            )
        if shape == version_1.SHAPE:
            version_1.migrate(db)
        elif shape == 0:
            for statement in TABLES:
                db.execute(statement)
        else:
            raise ConfigError(
                f"{path} was written by recon before version 1 (its schema is {shape}): "
                "open it with version 1 first"
            )
        db.execute(f"pragma user_version = {SHAPE}")


def _shape(db: sqlite3.Connection) -> int:
    return int(db.execute("pragma user_version").fetchone()[0])


SHAPE = 9
"""The `user_version` of a current control database."""
TABLES = (
    """
    create table runs (
      run text primary key, as_of text not null, started_at text not null, ended_at text,
      status text, document text
    ) strict
    """,
    *breaks.SHAPE,
    *journal.SHAPE,
    *heartbeat_incidents.SHAPE,
    *outbox.SHAPE,
    *manifests.SHAPE,
    *expected_sessions.SHAPE,
    *reply_cursors.SHAPE,
)
