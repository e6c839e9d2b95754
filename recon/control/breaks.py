"""Breaks in the control database: opened, acknowledged, resolved, cleared, reopened.

A person acknowledges a break (it pages no more) or resolves it (it is dealt with). A run does the
rest. It clears a break that it no longer sees, whatever a person did, and reopens a cleared or
resolved break that it sees again. An acknowledgement holds for an amount and a severity. A break
that grows worse than that is open again.

Each change of status is an entry in the journal, in the same transaction.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from recon.control import journal
from recon.control.transaction import transaction
from recon.core.numbers import EXACT
from recon.core.records import BreakStatus, Severity, Span
from recon.core.tolerance import SEVERITIES, severity
from recon.errors import UsageError

SHAPE = (
    """
    create table breaks (
      break text primary key, account text not null, bot text not null, kind text not null,
      first_seen text not null, last_seen text not null, divergence text not null,
      status text not null, session text not null default '', broker text, bound text,
      age_sessions integer not null default 0, severity text, reopened integer not null default 0,
      acknowledged_divergence text, acknowledged_severity text
    ) strict
    """,
)
STANDING: tuple[BreakStatus, ...] = ("open", "acknowledged")
STATUS_AFTER: dict[str, BreakStatus] = {
    "open": "open",
    "reopen": "open",
    "lapse": "open",
    "acknowledge": "acknowledged",
    "resolve": "resolved",
    "clear": "cleared",
}
"""The status of a break after each act of the journal; a `take-over` entry names the status."""


KIND_IN_ID: Mapping[Span, str] = {"window": "total", "session": "day"}
"""The kinds in ids, as in version 1, so that a break keeps its id."""


class Break(NamedTuple):
    """One divergence beyond the tolerance, as one run found it; numbers are decimal text.

    `divergence` excludes the signed-off part. `broker` is the broker net, and `bound` the largest
    divergence that is not a break. `session` is empty for a break of kind `window`.
    """

    account: str
    bot: str
    kind: Span
    divergence: str
    broker: str
    bound: str
    session: str = ""

    @property
    def id(self) -> str:
        """Return the break's identity: stable across sessions, so no changing number is in it.

        A divergence of one session is that session's own break.
        """
        kind = KIND_IN_ID[self.kind]
        key = [self.account, self.bot, kind, *([self.session] if self.session else [])]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class BreakObservation:
    """The breaks that one run found, in its accounts, and each (account, bot) that it judged.

    `judged` has the reason for which a break that was not found is cleared. `age` returns the
    number of an account's sessions from a date to the run's session.
    """

    run: str
    at: datetime
    session: date
    accounts: Collection[str]
    judged: Mapping[tuple[str, str], str]
    found: Sequence[Break]
    age: Callable[[str, date], int]


@dataclass(slots=True)
class BreakRow:
    """One row of the table `breaks`, by its columns."""

    id: str
    account: str
    bot: str
    kind: Span
    first_seen: str
    last_seen: str
    divergence: str
    status: BreakStatus
    session: str
    broker: str | None = None
    bound: str | None = None
    age_sessions: int = 0
    severity: Severity | None = None
    reopened: int = 0
    acknowledged_divergence: str | None = None
    acknowledged_severity: Severity | None = None

    @property
    def owner(self) -> tuple[str, str]:
        """Return account and bot."""
        return self.account, self.bot

    def weigh(self, age_sessions: int) -> None:
        """Set the age, and the severity if broker net and bound are known."""
        self.age_sessions = age_sessions
        if self.broker is not None and self.bound is not None:
            parts = (Decimal(self.divergence), Decimal(self.broker), Decimal(self.bound))
            self.severity = severity(*parts, age_sessions)

    def worse(self) -> str:
        """Return why the break is worse than when it was acknowledged, or an empty text."""
        before, now = self.acknowledged_severity, self.severity
        if _rank(now) > _rank(before):
            return f"its severity has risen from {before or 'unknown'} to {now}"
        known = Decimal(self.acknowledged_divergence or "0").copy_abs()
        growth = EXACT.subtract(Decimal(self.divergence).copy_abs(), known)
        if self.bound is not None and growth > Decimal(self.bound):
            return f"it has grown from {self.acknowledged_divergence} to {self.divergence}"
        return ""


COLUMNS = tuple({"id": "break"}.get(each.name, each.name) for each in fields(BreakRow))
SHOWN = (
    *("break", "bot", "account", "kind", "session", "divergence", "first_seen", "last_seen"),
    *("age_sessions", "severity", "status"),
)


def record_observation(db: sqlite3.Connection, observation: BreakObservation) -> None:
    """Update the breaks with a run's observation, within the caller's transaction."""
    rows = {row.id: row for row in _concerned(db, observation)}
    found = {item.id: item for item in observation.found}
    for row in rows.values():
        if row.id not in found and row.owner in observation.judged:
            row.status = "cleared"
            _note(db, observation, row, "clear", _why_cleared(row, observation))
    for id_, item in found.items():
        rows[id_] = _upsert(db, observation, rows.get(id_), item)
    for row in rows.values():
        if row.status in STANDING:
            first = date.fromisoformat(row.first_seen)
            row.weigh(observation.age(row.account, first))
        if row.status == "acknowledged" and (why := row.worse()):
            row.status = "open"
            _note(db, observation, row, "lapse", why)
        _save(db, row)


def listed(
    db: sqlite3.Connection, *, bot: str | None = None, is_all: bool = False
) -> list[dict[str, Any]]:
    """Return standing breaks, or all, as they are shown, with the last act on each."""
    rows = db.execute(
        """
        select b.*, j.who, j.at, j.why
        from breaks b
        left join journal j on j.entry = (
          select max(entry) from journal where subject = b.break and act <> 'sign-off'
        )
        where (?1 is null or b.bot = ?1)
          and (?2 or b.status in (select value from json_each(?3)))
        order by b.bot, b.kind, b.session
        """,
        (bot, is_all, json.dumps(STANDING)),
    )
    return [
        {name: row[name] for name in SHOWN}
        | {
            "session": row["session"] or None,
            "reopened": bool(row["reopened"]),
            "last_action": {"by": row["who"], "at": row["at"], "reason": row["why"]},
        }
        for row in rows
    ]


def acknowledged(db: sqlite3.Connection, found: Sequence[Break]) -> set[tuple[str, str]]:
    """Return each (account, bot) all of whose breaks among these are acknowledged."""
    rows = db.execute("select break from breaks where status = 'acknowledged'")
    known = {row["break"] for row in rows}
    loud = {(item.account, item.bot) for item in found if item.id not in known}
    return {(item.account, item.bot) for item in found} - loud


def acknowledge(
    db: sqlite3.Connection, prefix: str, *, who: str, user: str, note: str, at: datetime
) -> dict[str, Any]:
    """Acknowledge a break with its present amount and severity; return it as it is shown.

    A second acknowledgement replaces the first. Raises UsageError for an unknown break, or for one
    that does not stand.
    """
    with transaction(db):
        row = _find(db, prefix)
        row.status = "acknowledged"
        row.acknowledged_divergence, row.acknowledged_severity = row.divergence, row.severity
        return _by_person(db, row, "acknowledge", who, user, note, at)


def resolve(
    db: sqlite3.Connection, prefix: str, *, who: str, user: str, reason: str, at: datetime
) -> dict[str, Any]:
    """Resolve a break; return it as it is shown.

    The next run that sees it reopens it. Raises UsageError as `acknowledge` does.
    """
    with transaction(db):
        row = _find(db, prefix)
        row.status = "resolved"
        return _by_person(db, row, "resolve", who, user, reason, at)


def disagreements(db: sqlite3.Connection) -> list[str]:
    """Return the breaks whose status differs from the journal's, as sentences."""
    journaled: dict[str, str] = {}
    for entry in journal.entries(db):
        if entry.act in STATUS_AFTER:
            journaled[entry.subject] = STATUS_AFTER[entry.act]
        elif entry.act == "take-over":
            journaled[entry.subject] = json.loads(entry.detail)["status"]
    kept = {row["break"]: row["status"] for row in db.execute("select break, status from breaks")}
    return [
        f"break {id_} is {kept.get(id_, 'missing')}, and {journaled.get(id_, 'missing')} by the "
        "journal: another program wrote to the control database: find out which one"
        for id_ in sorted({*journaled, *kept})
        if journaled.get(id_) != kept.get(id_)
    ]


def _concerned(db: sqlite3.Connection, observation: BreakObservation) -> list[BreakRow]:
    """Return the breaks of a run's accounts that are not cleared, and those that it found."""
    rows = db.execute(
        f"""
        select {", ".join(COLUMNS)} from breaks
        where account in (select value from json_each(?))
          and (status <> 'cleared' or break in (select value from json_each(?)))
        order by break
        """,
        (json.dumps([*observation.accounts]), json.dumps([item.id for item in observation.found])),
    )
    return [BreakRow(*row) for row in rows]


def _upsert(
    db: sqlite3.Connection, observation: BreakObservation, before: BreakRow | None, item: Break
) -> BreakRow:
    """Return the row of a found break. A cleared break begins anew; a resolved one goes on."""
    day = observation.session.isoformat()
    owner = (item.account, item.bot, item.kind)
    row = before or BreakRow(item.id, *owner, day, day, item.divergence, "cleared", item.session)
    row.divergence, row.broker, row.bound = item.divergence, item.broker, item.bound
    row.last_seen = max(row.last_seen, day)
    row.first_seen = day if row.status == "cleared" else min(row.first_seen, day)
    if row.status not in STANDING:
        row.status, row.reopened = "open", int(before is not None)
        why = f"divergence {row.divergence} exceeds the tolerance of {row.bound}"
        _note(db, observation, row, "reopen" if before else "open", why)
    return row


def _why_cleared(row: BreakRow, observation: BreakObservation) -> str:
    if row.session and observation.age(row.account, date.fromisoformat(row.session)):
        return f"a later session was judged: the window has the divergence of {row.session}"
    return observation.judged[row.owner]


def _rank(grave: Severity | None) -> int:
    return -1 if grave is None else SEVERITIES.index(grave)


def _note(
    db: sqlite3.Connection, observation: BreakObservation, row: BreakRow, act: journal.Act, why: str
) -> None:
    journal.append(
        db,
        at=observation.at,
        who=f"run {observation.run}",
        act=act,
        subject=row.id,
        why=why,
        **_facts(row),
        as_of=observation.session.isoformat(),
    )


def _by_person(
    db: sqlite3.Connection,
    row: BreakRow,
    act: journal.Act,
    who: str,
    user: str,
    why: str,
    at: datetime,
) -> dict[str, Any]:
    facts = _facts(row) | {"severity": row.severity, "user": user}
    journal.append(db, at=at, who=who, act=act, subject=row.id, why=why, **facts)
    _save(db, row)
    [shown] = [one for one in listed(db, bot=row.bot, is_all=True) if one["break"] == row.id]
    return shown


def _facts(row: BreakRow) -> dict[str, Any]:
    names = ("account", "bot", "kind", "session", "divergence", "first_seen")
    return {name: getattr(row, name) for name in names}


def _save(db: sqlite3.Connection, row: BreakRow) -> None:
    marks = ", ".join("?" * len(COLUMNS))
    values = [getattr(row, each.name) for each in fields(row)]
    db.execute(f"replace into breaks ({', '.join(COLUMNS)}) values ({marks})", values)


def _find(db: sqlite3.Connection, prefix: str) -> BreakRow:
    """Return the standing break whose id begins with `prefix`; UsageError lists the candidates."""
    prefix = prefix.strip().lower()
    stored = db.execute(f"select {', '.join(COLUMNS)} from breaks order by bot, kind, session")
    rows = [BreakRow(*row) for row in stored]
    standing = [row for row in rows if row.status in STANDING]
    matching = [row for row in standing if prefix and row.id.startswith(prefix)]
    if len(matching) == 1:
        return matching[0]
    ended = [row for row in rows if prefix and row.id.startswith(prefix)]
    if matching:
        problem = f"{prefix} is the beginning of {len(matching)} breaks: write more of it"
    elif ended:
        problem = f"{prefix} is {ended[0].status} already: use one of the breaks that stand"
    else:
        problem = f"there is no break {prefix!r}"
    raise UsageError("\n".join([problem, *_candidates(matching or standing)]))


def _candidates(rows: Sequence[BreakRow]) -> list[str]:
    if not rows:
        return ["no break stands: `recon breaks --all` lists the earlier breaks"]
    return [
        f"  {row.id}  {row.bot} {row.kind} {row.session} {row.divergence} ({row.status})"
        for row in rows
    ]
