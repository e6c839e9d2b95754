"""What was heard where pages are answered: how far each place has been read, and when it is next.

A *place* is a Telegram bot, or one incident at PagerDuty. Its *mark* says what of it has been dealt
with, and moves in the transaction that does so, from the mark that it was read with: whoever is
killed before that reads the same again, whoever comes second has read nothing. So each answer is
dealt with exactly once. Functions over the control ledger's connection.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import NamedTuple

SHAPE = (
    """
    create table heard (
      place text primary key, mark text, marked_at text, due_at text not null
    ) strict
    """,
)


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
    db.execute("update heard set due_at = ? where place = ?", (_text(due), place))
    if after is not None:
        db.execute(
            "update heard set mark = ?, marked_at = ? where place = ?", (after, _text(at), place)
        )
    return True


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
