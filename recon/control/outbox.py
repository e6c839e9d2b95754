"""The outbox: incidents, the messages about each, and the channels that have received them.

A page is committed here in the transaction that decides it. It is sent afterwards and its delivery
recorded after that, so each page is delivered at least once.

An *incident* has one key, under which it is paged, repeated and resolved, so that a receiver can
fold duplicates. It is repeated until a person acknowledges it or its breaks. It is resolved when
its page says so, or when none of its breaks stands any more.

Each channel receives the messages of an incident in order. A later page replaces an earlier one
that was never delivered, and a resolve waits until its page has been delivered.

A channel is identified by its key, never by its name: a channel that is renamed keeps its
deliveries. All functions run within the caller's transaction.
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
"""Statuses of breaks that stand."""
REPEAT_AFTER = timedelta(minutes=15)
REPEATS_BEFORE_ESCALATION = 2
RETRY_FIRST = timedelta(minutes=1)
"""The wait after a failed attempt. It doubles with each one, up to `REPEAT_AFTER`."""

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


class PendingMessage(NamedTuple):
    """A message to be sent: `delivered_to` are the keys of the channels that have received it.

    `due_at` has the time of the next attempt for each channel that refused it.
    """

    id: int
    at: datetime
    is_escalated: bool
    message: Message
    delivered_to: frozenset[str]
    due_at: Mapping[str, datetime]


class Unacknowledged(NamedTuple):
    """An incident that nobody has acknowledged, and the keys of the channels that have its page."""

    key: str
    channels: frozenset[str]


def enqueue(db: sqlite3.Connection, page: Page, at: datetime) -> None:
    """Commit a page: a new incident, an update of one, or its end.

    A page may be enqueued at every look. An update is sent at once only if the incident has grown
    graver; otherwise the next repeat carries it. The end of an incident that does not stand is
    ignored.
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
        _add_message(db, page.key, "page", severity, (page.title, page.body), repeats, at)


def repeat_and_resolve(db: sqlite3.Connection, at: datetime) -> None:
    """Enqueue the repeats that are due, and resolve the incidents whose breaks are all over."""
    for row in _standing(db):
        states = _breaks(db, row)
        if _is_of_breaks(row, states) and not any(one["status"] in STANDING for one in states):
            title = f"{row['title']}: RESOLVED"
            _end(db, row, title, "none of its breaks stands any more", at)
        elif _is_unacknowledged(row, states) and is_due(_instant(row["repeat_at"]), at):
            _repeat(db, row, states, at)


def is_due(when: datetime, at: datetime) -> bool:
    """Return whether a time has come.

    A time further ahead than a repeat counts as come: a clock that was ahead has set it.
    """
    return not at < when <= at + REPEAT_AFTER


def unacknowledged(db: sqlite3.Connection) -> list[Unacknowledged]:
    """Return the incidents that nobody has acknowledged as they stand, the oldest first."""
    found = []
    for row in _standing(db):
        if _is_unacknowledged(row, _breaks(db, row)):
            rows = db.execute(
                """
                select distinct channel from deliveries join messages using (message)
                where key = ? and status = 'delivered'
                """,
                (row["key"],),
            )
            found.append(Unacknowledged(row["key"], frozenset(one["channel"] for one in rows)))
    return found


def acknowledge(
    db: sqlite3.Connection, prefix: str, *, who: str, note: str, seen_at: datetime | None = None
) -> dict[str, Any]:
    """Acknowledge the incident whose key is `prefix`, or the only one whose key begins so.

    Return it. Its repeats end unless it grows graver; repeats about its breaks end when the breaks
    are acknowledged. Raises UsageError for no incident or several, and where the incident began or
    grew graver after `seen_at`, the time of the page that the person had seen.
    """
    row = _find_standing(db, prefix)
    if seen_at is not None and seen_at < _opened_at(db, row) - SKEW:
        raise UsageError(
            f"{row['key']} has begun, or grown worse, since the page that this acknowledges: "
            "acknowledge its latest page"
        )
    db.execute(
        "update incidents set status = 'acknowledged', who = ?, note = ? where key = ?",
        (who, note, row["key"]),
    )
    return incident(db, row["key"])


def incident(db: sqlite3.Connection, key: str) -> dict[str, Any]:
    """Return one incident by its columns, with its subjects as a mapping."""
    row = db.execute("select * from incidents where key = ?", (key,)).fetchone()
    return {**dict(row), "subjects": json.loads(row["subjects"])}


def standing(db: sqlite3.Connection, prefix: str = "") -> list[dict[str, Any]]:
    """Return the standing incidents whose key begins with `prefix`, the oldest first."""
    return [incident(db, row["key"]) for row in _standing(db) if row["key"].startswith(prefix)]


def pending(db: sqlite3.Connection) -> list[PendingMessage]:
    """Return every message that is not settled, in order."""
    found = []
    for row in db.execute("select * from messages where settled_at is null order by message"):
        rows = db.execute(
            "select * from deliveries where message = ?", (row["message"],)
        ).fetchall()
        message = Message(
            row["key"], row["title"], row["body"], row["severity"], row["kind"] == "resolve"
        )
        found.append(
            PendingMessage(
                row["message"],
                _instant(row["at"]),
                bool(row["is_escalated"]),
                message,
                frozenset(one["channel"] for one in rows if one["status"] == "delivered"),
                {one["channel"]: _instant(one["due_at"]) for one in rows if one["due_at"]},
            )
        )
    return found


def record_attempt(
    db: sqlite3.Connection, message: int, channel: str, name: str, reason: str, at: datetime
) -> None:
    """Record one attempt to send a message. An empty reason means delivered.

    `channel` is the channel's key, and `name` its name at this time.
    """
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
    """Record that nothing is left to send of these messages."""
    for message in messages:
        db.execute("update messages set settled_at = ? where message = ?", (_text(at), message))


def deliveries(db: sqlite3.Connection, key: str) -> list[dict[str, Any]]:
    """Return each channel's last attempt to send the last page of an incident.

    Each has `channel` (its name), `status` and, where it failed, `reason`.
    """
    rows = db.execute(
        """
        select name as channel, status, reason from deliveries
        where message = (select max(message) from messages where key = ? and kind <> 'resolve')
        order by rowid
        """,
        (key,),
    )
    return [{name: row[name] for name in row.keys() if row[name]} for row in rows]  # noqa: SIM118 - a Row's own


def superseded(found: Sequence[PendingMessage]) -> set[int]:
    """Return the messages that a later page of the same incident makes redundant.

    The later page is at least as grave, and escalated if the earlier one is.
    """
    return {
        early.id
        for early in found
        if any(
            late.id > early.id
            and not late.message.resolves
            and late.message.key == early.message.key
            and late.is_escalated >= early.is_escalated
            and _graver(late.message.severity, early.message.severity) == late.message.severity
            for late in found
        )
    }


def _end(db: sqlite3.Connection, row: sqlite3.Row, title: str, body: str, at: datetime) -> None:
    db.execute("update incidents set status = 'resolved' where key = ?", (row["key"],))
    _add_message(db, row["key"], "resolve", row["severity"], (title, body), row["repeats"], at)


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
    text = (row["title"], f"{row['body']}\n\n" + "\n".join(lines))
    _add_message(db, row["key"], "repeat", row["severity"], text, repeats, at)


def _add_message(
    db: sqlite3.Connection,
    key: str,
    kind: str,
    severity: Severity,
    text: tuple[str, str],
    repeats: int,
    at: datetime,
) -> None:
    db.execute(
        """
        insert into messages (key, kind, at, severity, title, body, is_escalated)
        values (?, ?, ?, ?, ?, ?, ?)
        """,
        (key, kind, _text(at), severity, *text, repeats > REPEATS_BEFORE_ESCALATION),
    )


def _find_standing(db: sqlite3.Connection, prefix: str) -> sqlite3.Row:
    """Return the standing incident with this key, or the only one whose key begins so."""
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
        raise UsageError(f"{ended['key']} is resolved: it needs no acknowledgement")
    keys = [f"  {row['key']}  {row['title']} ({row['status']})" for row in rows or standing]
    found = f"begins the keys of {len(rows)} incidents" if rows else "begins no incident's key"
    problem = f"{prefix} {found}" if prefix else "the key of an incident is missing"
    remedy = "use one of" if keys else "no incident stands"
    raise UsageError("\n".join([f"{problem}: {remedy}", *keys]))


def _opened_at(db: sqlite3.Connection, row: sqlite3.Row) -> datetime:
    """Return the last time when an incident or one of its open breaks was opened or paged."""
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


def _is_unacknowledged(row: sqlite3.Row, states: Sequence[sqlite3.Row]) -> bool:
    """Return whether a break of an incident is open.

    An incident that is not about breaks alone is unacknowledged while it is itself open.
    """
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
    """Return an instant as text in UTC. Texts sort as instants do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
