"""The outbox: incidents, what was said of each, and which channel has taken it.

A page is committed here in the step that decides it, sent after and marked after: at least once.
An *incident* has one key, under which it is paged, repeated and resolved, so that a receiver folds
what comes twice. It is repeated until a person acknowledges it, or its breaks, and resolved when it
is over: when its page says so, or none of its breaks stands any more.

Per incident and channel, messages go out in their order: a page that never arrived gives way to a
later one that says as much, and a resolve waits until its page has arrived.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from recon.core.liveness import SKEW
from recon.core.page import Message, Page
from recon.core.records import Severity
from recon.core.tolerance import SEVERITIES
from recon.errors import UsageError

STANDING = ("open", "acknowledged")
"""Statuses of breaks that are not over."""
REPEAT_AFTER = timedelta(minutes=15)
REPEATS_BEFORE_ESCALATION = 2
RETRY_FIRST = timedelta(minutes=1)
"""Doubled with each attempt in vain, up to the time after which a page is repeated anyway."""

SHAPE = (
    """
    create table incidents (
      key text primary key, at text not null, severity text not null, title text not null,
      body text not null, subjects text not null, status text not null,
      repeats integer not null default 0, repeat_at text not null, who text, note text
    ) strict
    """,
    """
    create table messages (
      message integer primary key, key text not null, kind text not null, at text not null,
      severity text not null, title text not null, body text not null,
      is_escalated integer not null, settled_at text
    ) strict
    """,
    "create index messages_by_key on messages (key, message)",
    "create index messages_that_wait on messages (message) where settled_at is null",
    """
    create table deliveries (
      message integer not null references messages, channel text not null, name text not null,
      status text not null, attempts integer not null, at text not null, due_at text,
      reason text not null, primary key (message, channel)
    ) strict
    """,
)


class Waiting(NamedTuple):
    """A message that not every channel has taken: `taken` are those that have."""

    id: int
    at: datetime
    is_escalated: bool
    said: Message
    taken: frozenset[str]
    due_at: Mapping[str, datetime]


class Unanswered(NamedTuple):
    """An incident that nobody has acknowledged, and the channels that have taken a page of it."""

    key: str
    channels: frozenset[str]


def enqueue(db: sqlite3.Connection, page: Page, at: datetime) -> None:
    """Commit a page, within the caller's transaction: a new incident, news of one, or its end.

    One that stands already is told anew and not sent at once, unless it has grown graver: repeats
    see to the rest, so that a page may be enqueued at every look. The end of none is no message.
    """
    page = page.readable()
    row = db.execute("select * from incidents where key = ?", (page.key,)).fetchone()
    is_standing = row is not None and row["status"] != "resolved"
    if page.resolves:
        if is_standing:
            _end(db, row, page.title, page.body, at)
        return
    severity = _graver(page.severity, row["severity"]) if is_standing else page.severity
    is_graver = is_standing and severity != row["severity"]
    values = (severity, page.title, page.body, json.dumps(page.subjects), _text(at + REPEAT_AFTER))
    if not is_standing:
        db.execute(
            """
            replace into incidents
              (severity, title, body, subjects, repeat_at, key, at, status)
            values (?, ?, ?, ?, ?, ?, ?, 'open')
            """,
            (*values, page.key, _text(at)),
        )
    else:
        db.execute(
            """
            update incidents set severity = ?1, title = ?2, body = ?3, subjects = ?4,
              status = iif(?6, 'open', status), repeat_at = iif(?6, ?5, repeat_at)
            where key = ?7
            """,
            (*values, is_graver, page.key),
        )
    if is_graver or not is_standing:
        repeats = row["repeats"] if is_standing else 0
        _say(db, page.key, "page", severity, (page.title, page.body), repeats, at)


def tend(db: sqlite3.Connection, at: datetime) -> None:
    """Repeat what nobody has answered, and end what is over, within the caller's transaction."""
    for row in _standing(db):
        states = _breaks(db, row)
        if _is_of_breaks(row, states) and not any(one["status"] in STANDING for one in states):
            title = f"{row['title']}: RESOLVED"
            _end(db, row, title, "none of its breaks stands any more", at)
        elif _is_unanswered(row, states) and is_due(_instant(row["repeat_at"]), at):
            _repeat(db, row, states, at)


def is_due(when: datetime, at: datetime) -> bool:
    """Return whether a time has come. Nothing waits longer than for a repeat.

    What lies further ahead was set by a clock that has been put back since.
    """
    return not at < when <= at + REPEAT_AFTER


def unanswered(db: sqlite3.Connection) -> list[Unanswered]:
    """Return the incidents that nobody has acknowledged as they stand, the oldest first."""
    found = []
    for row in _standing(db):
        if _is_unanswered(row, _breaks(db, row)):
            rows = db.execute(
                """
                select distinct channel from deliveries join messages using (message)
                where key = ? and status = 'delivered'
                """,
                (row["key"],),
            )
            found.append(Unanswered(row["key"], frozenset(one["channel"] for one in rows)))
    return found


def acknowledge(
    db: sqlite3.Connection, prefix: str, *, who: str, note: str, seen_at: datetime | None = None
) -> dict[str, Any]:
    """Note that a person knows of an incident, by its key or its beginning; return it.

    Its repeats end, unless it grows graver; those of its breaks end with their own acknowledgement.
    Raises UsageError for none, or several; or where it was not yet as it stands at `seen_at`, when
    there was what the person answers to.
    """
    row = _meant(db, prefix)
    if seen_at is not None and seen_at < _opened_at(db, row) - SKEW:
        raise UsageError(
            f"{row['key']} has begun, or grown worse, since what this answers to: "
            "see its latest page, and acknowledge that"
        )
    db.execute(
        "update incidents set status = 'acknowledged', who = ?, note = ? where key = ?",
        (who, note, row["key"]),
    )
    return incident(db, row["key"])


def incident(db: sqlite3.Connection, key: str) -> dict[str, Any]:
    """Return one incident by its columns, its subjects as they were given."""
    row = db.execute("select * from incidents where key = ?", (key,)).fetchone()
    return {**dict(row), "subjects": json.loads(row["subjects"])}


def standing(db: sqlite3.Connection, prefix: str = "") -> list[dict[str, Any]]:
    """Return the incidents that stand and whose key begins so, the oldest first."""
    return [incident(db, row["key"]) for row in _standing(db) if row["key"].startswith(prefix)]


def waiting(db: sqlite3.Connection) -> list[Waiting]:
    """Return every message that is not settled, in order."""
    found = []
    for row in db.execute("select * from messages where settled_at is null order by message"):
        rows = db.execute(
            "select * from deliveries where message = ?", (row["message"],)
        ).fetchall()
        said = Message(
            row["key"], row["title"], row["body"], row["severity"], row["kind"] == "resolve"
        )
        found.append(
            Waiting(
                row["message"],
                _instant(row["at"]),
                bool(row["is_escalated"]),
                said,
                frozenset(one["channel"] for one in rows if one["status"] == "delivered"),
                {one["channel"]: _instant(one["due_at"]) for one in rows if one["due_at"]},
            )
        )
    return found


def mark(
    db: sqlite3.Connection, message: int, channel: str, name: str, reason: str, at: datetime
) -> None:
    """Note what became of one attempt, within the caller's transaction; no reason is delivered."""
    row = db.execute(
        "select attempts from deliveries where message = ? and channel = ?", (message, channel)
    ).fetchone()
    attempts = 1 if row is None else int(row["attempts"]) + 1
    wait = min(RETRY_FIRST * 2 ** min(attempts - 1, 10), REPEAT_AFTER)
    db.execute(
        "replace into deliveries values (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            message,
            channel,
            name,
            "failed" if reason else "delivered",
            attempts,
            _text(at),
            _text(at + wait) if reason else None,
            reason,
        ),
    )


def settle(db: sqlite3.Connection, messages: Collection[int], at: datetime) -> None:
    """Note that of these messages nothing is left to send, within the caller's transaction."""
    for message in messages:
        db.execute("update messages set settled_at = ? where message = ?", (_text(at), message))


def delivered(db: sqlite3.Connection, key: str) -> list[dict[str, Any]]:
    """Return what became of the last page of an incident: each channel tried, and how it ended."""
    rows = db.execute(
        """
        select name as channel, status, reason from deliveries
        where message = (select max(message) from messages where key = ? and kind <> 'resolve')
        order by rowid
        """,
        (key,),
    )
    return [{name: row[name] for name in row.keys() if row[name]} for row in rows]  # noqa: SIM118 - a Row's own


def replaced(found: Sequence[Waiting]) -> set[int]:
    """Return which messages a later page of the same incident says as loudly, or louder."""
    return {
        early.id
        for early in found
        if any(
            late.id > early.id
            and not late.said.resolves
            and late.said.key == early.said.key
            and late.is_escalated >= early.is_escalated
            and _graver(late.said.severity, early.said.severity) == late.said.severity
            for late in found
        )
    }


def _end(db: sqlite3.Connection, row: sqlite3.Row, title: str, body: str, at: datetime) -> None:
    db.execute("update incidents set status = 'resolved' where key = ?", (row["key"],))
    _say(db, row["key"], "resolve", row["severity"], (title, body), row["repeats"], at)


def _repeat(
    db: sqlite3.Connection, row: sqlite3.Row, states: Sequence[sqlite3.Row], at: datetime
) -> None:
    repeats = row["repeats"] + 1
    db.execute(
        "update incidents set repeats = ?, repeat_at = ? where key = ?",
        (repeats, _text(at + REPEAT_AFTER), row["key"]),
    )
    lines = [f"repeat {repeats}, since {row['at'][:16].replace('T', ' ')} UTC"]
    for status, words in (("open", "still open"), ("acknowledged", "acknowledged since")):
        named = [
            f"{one['bot']} {one['kind']} {one['divergence']}"
            for one in states
            if one["status"] == status
        ]
        lines += [f"{words}: {', '.join(named)}"] if named else []
    said = (row["title"], f"{row['body']}\n\n" + "\n".join(lines))
    _say(db, row["key"], "repeat", row["severity"], said, repeats, at)


def _say(
    db: sqlite3.Connection,
    key: str,
    kind: str,
    severity: Severity,
    said: tuple[str, str],
    repeats: int,
    at: datetime,
) -> None:
    db.execute(
        """
        insert into messages (key, kind, at, severity, title, body, is_escalated)
        values (?, ?, ?, ?, ?, ?, ?)
        """,
        (key, kind, _text(at), severity, *said, repeats > REPEATS_BEFORE_ESCALATION),
    )


def _meant(db: sqlite3.Connection, prefix: str) -> sqlite3.Row:
    """Return the one incident that stands and has this key, or whose key begins so."""
    standing = _standing(db)
    rows = [row for row in standing if prefix and row["key"].startswith(prefix)]
    rows = [row for row in rows if row["key"] == prefix] or rows
    if len(rows) == 1:
        return rows[0]
    ended = db.execute(
        """
        select key from incidents
        where status = 'resolved' and ?1 <> '' and substr(key, 1, length(?1)) = ?1
        order by key = ?1 desc, at desc
        """,
        (prefix,),
    ).fetchone()
    if ended is not None and not rows:
        raise UsageError(f"{ended['key']} is resolved: there is nothing to acknowledge any more")
    keys = [f"  {row['key']}  {row['title']} ({row['status']})" for row in rows or standing]
    found = f"is the beginning of {len(rows)} incidents" if rows else "is no incident's"
    raise UsageError("\n".join([f"{prefix or 'no key'} {found}: write one of", *keys]))


def _opened_at(db: sqlite3.Connection, row: sqlite3.Row) -> datetime:
    """Return the last time at which an incident or one of its open breaks was opened or paged."""
    rows = db.execute(
        """
        select at from messages where key = ?1 and kind = 'page'
        union all
        select j.at from breaks b join journal j on j.subject = b.break
        where b.status = 'open' and j.act <> 'sign-off'
          and b.break in (select key from json_each(?2))
        """,
        (row["key"], row["subjects"]),
    )
    return max(datetime.fromisoformat(each["at"]) for each in (row, *rows))


def _is_of_breaks(row: sqlite3.Row, states: Sequence[sqlite3.Row]) -> bool:
    return bool(states) and len(states) == len(json.loads(row["subjects"]))


def _is_unanswered(row: sqlite3.Row, states: Sequence[sqlite3.Row]) -> bool:
    """Return whether a break of it is open; or, where it is not of breaks alone, it is itself."""
    is_open = row["status"] == "open" and not _is_of_breaks(row, states)
    return is_open or any(one["status"] == "open" for one in states)


def _breaks(db: sqlite3.Connection, row: sqlite3.Row) -> list[sqlite3.Row]:
    return db.execute(
        """
        select bot, kind, divergence, status from breaks
        where break in (select key from json_each(?)) order by bot, kind, session
        """,
        (row["subjects"],),
    ).fetchall()


def _standing(db: sqlite3.Connection) -> list[sqlite3.Row]:
    return db.execute(
        "select * from incidents where status <> 'resolved' order by at, key"
    ).fetchall()


def _graver(one: Severity, other: Severity) -> Severity:
    return max(one, other, key=SEVERITIES.index)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(at: datetime) -> str:
    """Return an instant as text that sorts as instants do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
