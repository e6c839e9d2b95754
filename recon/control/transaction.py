"""Transactions of the control database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from recon.errors import clean_up
from recon.system.interruption import heed


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit the block atomically; a nested block commits with the outer one."""
    if db.in_transaction:
        yield
        return
    db.execute("begin immediate")
    try:
        yield
        heed()
        db.execute("commit")
    except BaseException as error:
        _roll_back(db, error)
        raise


def _roll_back(db: sqlite3.Connection, error: BaseException) -> None:
    """Roll back after an error, unless SQLite has done so itself, such as on a full disk."""
    if db.in_transaction:
        clean_up(db.rollback, after=error)
