"""The control ledger's file: opened, brought to today's shape in place, written in transactions.

`pragma user_version` counts the steps of `STEPS` that a file has seen. A step is never changed once
it has been released: what comes later is a step of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from recon.control import (
    expected_sessions,
    heartbeat_incidents,
    journal,
    manifests,
    outbox,
    reply_cursors,
)
from recon.errors import ConfigError, clean_up
from recon.system.interruption import heed

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another: each holds the file for one short transaction."""


def open_control(path: Path) -> sqlite3.Connection:
    """Open the control ledger at `path`, made where there is none, in today's shape.

    Raises ConfigError for one that a later release has written.
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


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit all of the block, or nothing of it; within another such block, with that one."""
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
    """Roll back after an error, unless SQLite has done so itself, as where the disk is full."""
    if db.in_transaction:
        clean_up(db.rollback, after=error)


def _bring_up(db: sqlite3.Connection, path: Path) -> None:
    if _steps_seen(db) == len(STEPS):
        return
    with transaction(db):
        seen = _steps_seen(db)  # another process may have been faster
        if seen > len(STEPS):
            raise ConfigError(
                f"{path}: written by a later release of recon (its shape is {seen}, this release "
                f"knows {len(STEPS)}): use that release"
            )
        for step in STEPS[seen:]:
            step(db)
        db.execute(f"pragma user_version = {len(STEPS)}")


def _steps_seen(db: sqlite3.Connection) -> int:
    return int(db.execute("pragma user_version").fetchone()[0])


def _first_tables(db: sqlite3.Connection) -> None:
    """Make runs, breaks and pages; the first files had them, and no count of steps."""
    for statement in (
        """
        create table if not exists runs (
          run text primary key, as_of text not null, started_at text not null, ended_at text,
          status text, document text
        ) strict
        """,
        """
        create table if not exists breaks (
          break text primary key, account text not null, bot text not null, kind text not null,
          first_seen text not null, last_seen text not null, amount text not null,
          status text not null
        ) strict
        """,
        """
        create table if not exists pages (
          page text primary key, run text not null, at text not null, title text not null,
          body text not null, status text not null, channels text not null
        ) strict
        """,
    ):
        db.execute(statement)


def _life_of_a_break(db: sqlite3.Connection) -> None:
    """Give breaks their life, and the journal, which begins with the breaks that there are."""
    for column in (
        "session text not null default ''",
        "truth text",
        "bound text",
        "age_sessions integer not null default 0",
        "severity text",
        "reopened integer not null default 0",
        "acknowledged_amount text",
        "acknowledged_severity text",
    ):
        db.execute(f"alter table breaks add column {column}")
    for statement in journal.SHAPE:
        db.execute(statement)
    for row in db.execute("select * from breaks order by first_seen, break").fetchall():
        journal.append(
            db,
            at=datetime.now(UTC),
            who="recon",
            act="take-over",
            subject=row["break"],
            why="noted before there was a journal",
            status=row["status"],
            first_seen=row["first_seen"],
            amount=row["amount"],
        )


def _watched_bots(db: sqlite3.Connection) -> None:
    """Make what `recon watch` keeps: what is known of each bot, and the incidents."""
    for statement in heartbeat_incidents.SHAPE:
        db.execute(statement)


def _outbox(db: sqlite3.Connection) -> None:
    """Make the outbox. The table `pages` stays as what earlier releases sent, and grows no more."""
    for statement in outbox.SHAPE:
        db.execute(statement)


def _publications(db: sqlite3.Connection) -> None:
    """Make what publication goes by: manifests, expected sessions, what is told of each account."""
    for statement in (*manifests.SHAPE, *expected_sessions.SHAPE):
        db.execute(statement)
    db.execute(expected_sessions.TOLD, (datetime.max.isoformat(),))  # noqa: DTZ901 - all of them


def _unwatched(db: sqlite3.Connection) -> None:
    """Tell an incident whose bot is alive again from one whose bot is no longer watched."""
    db.execute(heartbeat_incidents.UNWATCHED)


def _heard(db: sqlite3.Connection) -> None:
    """Make what is known of the places where pages are answered."""
    for statement in reply_cursors.SHAPE:
        db.execute(statement)


def _unread(db: sqlite3.Connection) -> None:
    """Keep since when the answers of a place cannot be read."""
    db.execute(reply_cursors.UNREAD_SINCE)


STEPS = (
    _first_tables,
    _life_of_a_break,
    _watched_bots,
    _outbox,
    _publications,
    _heard,
    _unwatched,
    _unread,
)
