"""The journal: a hash chain of the actions on breaks, bots and orders, with person and reason.

It is append-only. Each entry's hash covers the hash before it and the whole entry, so a later
change is found, with its place. If the tail is cut off, the rest is a sound chain. A head that is
kept elsewhere shows the loss; the document of each run has one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

Act = Literal[
    "open",
    "reopen",
    "clear",
    "lapse",
    "acknowledge",
    "resolve",
    "sign-off",
    "take-over",
    "restore",
    "assign",
]
GENESIS = "0" * 64
"""The hash before the first entry, and the head of an empty journal."""
SHAPE = (
    """
    create table journal (
      entry integer primary key, at text not null, who text not null, act text not null,
      subject text not null, why text not null, detail text not null, hash text not null
    ) strict
    """,
    "create index journal_by_subject on journal (subject, act)",
    """
    create trigger journal_keeps_what_it_has before update on journal
    begin select raise(abort, 'the journal is append-only: no entry is changed'); end
    """,
    """
    create trigger journal_loses_nothing before delete on journal
    begin select raise(abort, 'the journal is append-only: no entry is removed'); end
    """,
    """
    create trigger journal_grows_at_its_end before insert on journal
    when new.entry is not (select coalesce(max(entry), 0) + 1 from journal)
    begin select raise(abort, 'the journal is append-only: it grows at its end'); end
    """,
)


class Entry(NamedTuple):
    """One act. `at` is UTC, `detail` a JSON object.

    `subject` is a break, a bot, an order or a backup.
    """

    entry: int
    at: str
    who: str
    act: str
    subject: str
    why: str
    detail: str
    hash: str

    def hashed(self, before: str) -> str:
        """Return the hash of this entry, after an entry with the hash `before`."""
        said = json.dumps(self[:-1], separators=(",", ":"))
        return hashlib.sha256(f"{before}{said}".encode("ascii")).hexdigest()


class End(NamedTuple):
    """The end of the journal: the number of entries, and the hash of the last."""

    entries: int
    head: str


class Audit(NamedTuple):
    """The result of verifying the hashes. `altered` is the number of the first altered entry.

    `end` is the end of the sound part: the end of the journal, if nothing was altered.
    """

    end: End
    altered: int | None = None
    reason: str = ""


def append(
    db: sqlite3.Connection,
    *,
    at: datetime,
    who: str,
    act: Act,
    subject: str,
    why: str,
    **detail: Any,
) -> None:
    """Append one act to the journal, within the caller's transaction."""
    last = end(db)
    text = json.dumps(detail, sort_keys=True, separators=(",", ":"))
    when = at.astimezone(UTC).isoformat()
    entry = Entry(last.entries + 1, when, who, act, subject, why, text, "")
    entry = entry._replace(hash=entry.hashed(last.head))
    db.execute("insert into journal values (?, ?, ?, ?, ?, ?, ?, ?)", entry)


def end(db: sqlite3.Connection) -> End:
    """Return the end of the journal."""
    last = db.execute("select entry, hash from journal order by entry desc limit 1").fetchone()
    return End(0, GENESIS) if last is None else End(*last)


def entries(db: sqlite3.Connection) -> Iterator[Entry]:
    """Yield every entry in order. Bytes that are not UTF-8 are kept as surrogates."""
    cursor = db.cursor()
    cursor.row_factory = None
    factory, db.text_factory = db.text_factory, _decoded
    try:
        for row in cursor.execute("select * from journal order by entry"):
            yield Entry(*row)
    finally:
        db.text_factory = factory


def verify(db: sqlite3.Connection, head: str | None = None) -> Audit:
    """Verify every hash, and that an entry has the hash `head`, if one is given."""
    sound = End(0, GENESIS)
    is_met = head in {None, GENESIS}
    for entry in entries(db):
        place = sound.entries + 1
        if entry.entry != place:
            reason = f"entry {place} is missing: entry {entry.entry} is in its place"
            return Audit(sound, place, reason)
        if entry.hash != entry.hashed(sound.head):
            return Audit(sound, place, f"entry {place} was altered")
        sound = End(place, entry.hash)
        is_met = is_met or entry.hash == head
    if not is_met:
        reason = f"no entry has the hash {head}: the tail was cut off, or the journal was replaced"
        return Audit(sound, sound.entries + 1, reason)
    return Audit(sound)


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
