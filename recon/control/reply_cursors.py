"""What was heard where pages are answered: how far each place has been read, and when it is next.

A *place* is a Telegram bot, or one incident at PagerDuty. Its *mark* says what of it has been dealt
with, and moves in the transaction that does so, from the mark that it was read with: whoever is
killed before that reads the same again, whoever comes second has read nothing. So each answer is
dealt with exactly once. Functions over the control ledger's connection.
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
"""How long after it was due a place that is asked again begins anew."""


class Answer(NamedTuple):
    """What a person answered to a page.

    `key` is the beginning of an incident's, `user` who it was by the service's own id, `seen_at`
    (UTC) when there was what it answers to.
    """

    key: str
    who: str
    user: str
    note: str
    seen_at: datetime


class Mark(NamedTuple):
    """How far a place has been read, and when that was; nothing where it never was."""

    text: str | None = None
    at: datetime | None = None


def claim(db: sqlite3.Connection, place: str, at: datetime, until: datetime) -> Mark | None:
    """Be the one that reads a place until then, within the caller's transaction; None: not due."""
    row = db.execute("select * from heard where place = ?", (place,)).fetchone()
    if row is not None and row["due_at"] > _text(at):
        return None
    db.execute(
        """
        insert into heard (place, due_at) values (?, ?)
        on conflict (place) do update set due_at = excluded.due_at
        """,
        (place, _text(until)),
    )
    if row is not None and row["due_at"] < _text(at - FORGOTTEN_AFTER):
        db.execute("update heard set unread_since = null where place = ?", (place,))
    if row is None or row["mark"] is None:
        return Mark()
    return Mark(row["mark"], datetime.fromisoformat(row["marked_at"]))


def advance(
    db: sqlite3.Connection, place: str, before: Mark, after: str | None, at: datetime, due: datetime
) -> bool:
    """Move a place's mark, within the caller's transaction, and say when it is due again.

    Returns whether what was read behind `before` may be dealt with: not where somebody else has.
    """
    row = db.execute("select mark from heard where place = ?", (place,)).fetchone()
    if row is None or row["mark"] != before.text:
        return False
    db.execute(
        "update heard set due_at = ?, unread_since = null where place = ?", (_text(due), place)
    )
    if after is not None:
        db.execute(
            "update heard set mark = ?, marked_at = ? where place = ?", (after, _text(at), place)
        )
    return True


def unread(
    db: sqlite3.Connection, place: str, before: Mark, at: datetime, due: datetime
) -> datetime | None:
    """Note that a place's answers could not be read; return since when that is so.

    None where somebody else has read them. Within the caller's transaction.
    """
    row = db.execute("select * from heard where place = ?", (place,)).fetchone()
    if row is None or row["mark"] != before.text:
        return None
    since = row["unread_since"] or _text(at)
    db.execute(
        "update heard set due_at = ?, unread_since = ? where place = ?", (_text(due), since, place)
    )
    return datetime.fromisoformat(since)


def is_any_unread(db: sqlite3.Connection, prefix: str, at: datetime) -> bool:
    """Return whether there is a place whose key begins so and whose answers cannot be read now."""
    rows = db.execute(
        "select place from heard where unread_since is not null and due_at >= ?",
        (_text(at - FORGOTTEN_AFTER),),
    )
    return any(row["place"].startswith(prefix) for row in rows)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
