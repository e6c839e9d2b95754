"""Reply cursors: how far each source of replies has been read, and when it is read next.

A *reply source* is a Telegram bot, or one incident at PagerDuty. Its *cursor* marks the replies
that have been applied. It advances in the transaction that applies them, and only from the value
that the reader started with. A reader that is killed leaves the replies to the next one, and a
second reader of the same replies finds the cursor moved. So each reply is applied exactly once.

All functions run within the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

SHAPE = (
    """
    create table heard (
      place text primary key, mark text, marked_at text, due_at text not null,
      unread_since text
    ) strict
    """,
)
FORGOTTEN_AFTER = timedelta(hours=1)
"""A source that is overdue for longer starts a new series of attempts."""


class Acknowledgement(NamedTuple):
    """A person's acknowledgement of an incident, as a reply states it.

    `key` is the incident's key or its beginning. `user` is the person's id at the service.
    `seen_at` (UTC) is the time of the page that the person had seen.
    """

    key: str
    who: str
    user: str
    note: str
    seen_at: datetime


class Cursor(NamedTuple):
    """The service's own mark behind the last reply applied, and when it was set; empty at first."""

    value: str | None = None
    at: datetime | None = None


def claim(db: sqlite3.Connection, source: str, at: datetime, until: datetime) -> Cursor | None:
    """Reserve a source for one reader until `until`; return its cursor, or None if not due."""
    row = db.execute("select * from heard where place = ?", (source,)).fetchone()
    if row is not None and row["due_at"] > _text(at):
        return None
    db.execute(
        """
        insert into heard (place, due_at) values (?, ?)
        on conflict (place) do update set due_at = excluded.due_at
        """,
        (source, _text(until)),
    )
    if row is not None and row["due_at"] < _text(at - FORGOTTEN_AFTER):
        db.execute("update heard set unread_since = null where place = ?", (source,))
    if row is None or row["mark"] is None:
        return Cursor()
    return Cursor(row["mark"], datetime.fromisoformat(row["marked_at"]))


def advance(
    db: sqlite3.Connection,
    source: str,
    before: Cursor,
    after: str | None,
    at: datetime,
    due: datetime,
) -> bool:
    """Advance a source's cursor from `before` to `after` (None: leave it); next read at `due`.

    Return False, and change nothing, where another reader has advanced it: the replies that were
    read from `before` must not be applied.
    """
    row = db.execute("select mark from heard where place = ?", (source,)).fetchone()
    if row is None or row["mark"] != before.value:
        return False
    db.execute(
        "update heard set due_at = ?, unread_since = null where place = ?", (_text(due), source)
    )
    if after is not None:
        db.execute(
            "update heard set mark = ?, marked_at = ? where place = ?", (after, _text(at), source)
        )
    return True


def record_unread(
    db: sqlite3.Connection, source: str, before: Cursor, at: datetime, due: datetime
) -> datetime | None:
    """Record that a source's replies could not be read; return the time of the first failure.

    Return None where another reader has advanced the cursor.
    """
    row = db.execute("select * from heard where place = ?", (source,)).fetchone()
    if row is None or row["mark"] != before.value:
        return None
    since = row["unread_since"] or _text(at)
    db.execute(
        "update heard set due_at = ?, unread_since = ? where place = ?",
        (_text(due), since, source),
    )
    return datetime.fromisoformat(since)


def has_unread(db: sqlite3.Connection, group: str, at: datetime) -> bool:
    """Return whether the replies of a source in a group cannot be read now.

    A group is a source's key, or its beginning before a slash.
    """
    rows = db.execute(
        "select place from heard where unread_since is not null and due_at >= ?",
        (_text(at - FORGOTTEN_AFTER),),
    )
    return any(f"{row['place']}/".startswith(f"{group}/") for row in rows)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
