"""The life of a break: opened, acknowledged, resolved, cleared, opened again.

A person says `acknowledged` (I know, do not wake me for this) or `resolved` (it is dealt with); a
night says the rest, and has the last word. It clears what it does not see any more, whatever a
person said, and opens again what was cleared or resolved and is there all the same. An
acknowledgement is of an amount and a severity: a break that grows worse than that is open again.

Every change of status is an entry of the journal, in the same transaction.
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
from recon.control.database import transaction
from recon.core.numbers import EXACT
from recon.core.records import BreakStatus, Severity
from recon.core.tolerance import SEVERITIES, severity
from recon.errors import UsageError

STANDING: tuple[BreakStatus, ...] = ("open", "acknowledged")
STATUS_AFTER: dict[str, BreakStatus] = {
    "open": "open",
    "reopen": "open",
    "lapse": "open",
    "acknowledge": "acknowledged",
    "resolve": "resolved",
    "clear": "cleared",
}
"""Which status each act of the journal leaves a break in; `take-over` names it itself."""


class Break(NamedTuple):
    """One difference between truth and claim, as one run sees it; numbers are decimal text.

    `amount` is what counts of claimed − truth, `bound` how much of it would have been no break.
    `session` is that of a break of one session, and empty for one of the window.
    """

    account: str
    bot: str
    kind: str
    amount: str
    truth: str
    bound: str
    session: str = ""

    @property
    def id(self) -> str:
        """Return the break's identity: stable over nights, so no changing number is in it.

        What one session was off by is that session's own break.
        """
        key = [self.account, self.bot, self.kind, *([self.session] if self.session else [])]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one run saw: which breaks, of which accounts, and which (account, bot) it could judge.

    With each of these goes why a break of theirs that was not seen is none any more. `age` gives
    how many sessions of an account there are from a date to the run's session.
    """

    run: str
    at: datetime
    session: date
    accounts: Collection[str]
    judged: Mapping[tuple[str, str], str]
    found: Sequence[Break]
    age: Callable[[str, date], int]


@dataclass(slots=True)
class _Life:
    """One row of the table `breaks`, by its columns."""

    id: str
    account: str
    bot: str
    kind: str
    first_seen: str
    last_seen: str
    amount: str
    status: BreakStatus
    session: str
    truth: str | None = None
    bound: str | None = None
    age_sessions: int = 0
    severity: Severity | None = None
    reopened: int = 0
    acknowledged_amount: str | None = None
    acknowledged_severity: Severity | None = None

    @property
    def owner(self) -> tuple[str, str]:
        return self.account, self.bot

    def weigh(self, age_sessions: int) -> None:
        """Note its age, and its severity, where it is known what it is held against."""
        self.age_sessions = age_sessions
        if self.truth is not None and self.bound is not None:
            parts = (Decimal(self.amount), Decimal(self.truth), Decimal(self.bound))
            self.severity = severity(*parts, age_sessions)

    def worse(self) -> str:
        """Return why it is worse than what was acknowledged, or nothing."""
        before, now = self.acknowledged_severity, self.severity
        if _rank(now) > _rank(before):
            return f"its severity has risen from {before or 'unknown'} to {now}"
        known = Decimal(self.acknowledged_amount or "0").copy_abs()
        growth = EXACT.subtract(Decimal(self.amount).copy_abs(), known)
        if self.bound is not None and growth > Decimal(self.bound):
            return f"it has grown from {self.acknowledged_amount} to {self.amount}"
        return ""


COLUMNS = tuple({"id": "break"}.get(each.name, each.name) for each in fields(_Life))
SHOWN = (
    *("break", "bot", "account", "kind", "session", "amount", "first_seen", "last_seen"),
    *("age_sessions", "severity", "status", "reopened", "who", "at", "why"),
)


def see(db: sqlite3.Connection, sighting: Sighting) -> None:
    """Hold what stands against what a run saw, within the caller's transaction."""
    lives = {life.id: life for life in _concerned(db, sighting)}
    found = {item.id: item for item in sighting.found}
    for life in lives.values():
        if life.id not in found and life.owner in sighting.judged:
            life.status = "cleared"
            _note(db, sighting, life, "clear", _why_cleared(life, sighting))
    for id_, item in found.items():
        lives[id_] = _met(db, sighting, lives.get(id_), item)
    for life in lives.values():
        if life.status in STANDING:
            first = date.fromisoformat(life.first_seen)
            life.weigh(sighting.age(life.account, first))
        if life.status == "acknowledged" and (why := life.worse()):
            life.status = "open"
            _note(db, sighting, life, "lapse", why)
        _save(db, life)


def listed(
    db: sqlite3.Connection, *, bot: str | None = None, is_all: bool = False
) -> list[dict[str, Any]]:
    """Return breaks as they are shown, those that stand alone or all: with the last act on each."""
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
        | {"reopened": bool(row["reopened"]), "session": row["session"] or None}
        for row in rows
    ]


def acknowledged(db: sqlite3.Connection, found: Sequence[Break]) -> set[tuple[str, str]]:
    """Return the (account, bot) of these breaks of which each one is acknowledged."""
    rows = db.execute("select break from breaks where status = 'acknowledged'")
    known = {row["break"] for row in rows}
    loud = {(item.account, item.bot) for item in found if item.id not in known}
    return {(item.account, item.bot) for item in found} - loud


def acknowledge(
    db: sqlite3.Connection, prefix: str, *, who: str, user: str, note: str, at: datetime
) -> dict[str, Any]:
    """Note that a person knows of a break as it stands; return it as it is shown.

    Once more is fine: what counts is how it stood the last time. Raises UsageError for a break that
    is not there, or does not stand.
    """
    with transaction(db):
        life = _life(db, prefix)
        life.status = "acknowledged"
        life.acknowledged_amount, life.acknowledged_severity = life.amount, life.severity
        return _by_person(db, life, "acknowledge", who, user, note, at)


def resolve(
    db: sqlite3.Connection, prefix: str, *, who: str, user: str, reason: str, at: datetime
) -> dict[str, Any]:
    """Note that a person has dealt with a break; return it as it is shown.

    The next night that sees it opens it again. Raises UsageError as `acknowledge` does.
    """
    with transaction(db):
        life = _life(db, prefix)
        life.status = "resolved"
        return _by_person(db, life, "resolve", who, user, reason, at)


def disagreements(db: sqlite3.Connection) -> list[str]:
    """Return where the breaks' statuses are not those that the journal left them in."""
    told: dict[str, str] = {}
    for entry in journal.entries(db):
        if entry.act in STATUS_AFTER:
            told[entry.subject] = STATUS_AFTER[entry.act]
        elif entry.act == "take-over":
            told[entry.subject] = json.loads(entry.detail)["status"]
    kept = {row["break"]: row["status"] for row in db.execute("select break, status from breaks")}
    return [
        f"break {id_} is {kept.get(id_, 'not there')}, and {told.get(id_, 'not there')} by the "
        "journal: somebody wrote to the ledger past recon"
        for id_ in sorted({*told, *kept})
        if told.get(id_) != kept.get(id_)
    ]


def _concerned(db: sqlite3.Connection, sighting: Sighting) -> list[_Life]:
    """Return the breaks of a run's accounts that are not cleared, and those that it saw."""
    rows = db.execute(
        f"""
        select {", ".join(COLUMNS)} from breaks
        where account in (select value from json_each(?))
          and (status <> 'cleared' or break in (select value from json_each(?)))
        order by break
        """,
        (json.dumps([*sighting.accounts]), json.dumps([item.id for item in sighting.found])),
    )
    return [_Life(*row) for row in rows]


def _met(db: sqlite3.Connection, sighting: Sighting, before: _Life | None, item: Break) -> _Life:
    """Return a break that a run saw. One that was cleared begins anew; one resolved never ended."""
    day = sighting.session.isoformat()
    owner = (item.account, item.bot, item.kind)
    life = before or _Life(item.id, *owner, day, day, item.amount, "cleared", item.session)
    life.amount, life.truth, life.bound = item.amount, item.truth, item.bound
    life.last_seen = max(life.last_seen, day)
    life.first_seen = day if life.status == "cleared" else min(life.first_seen, day)
    if life.status not in STANDING:
        life.status, life.reopened = "open", int(before is not None)
        why = f"off by {life.amount}, where {life.bound} may be"
        _note(db, sighting, life, "reopen" if before else "open", why)
    return life


def _why_cleared(life: _Life, sighting: Sighting) -> str:
    if life.session and sighting.age(life.account, date.fromisoformat(life.session)):
        return f"a later session was judged: what is left of {life.session} is in the window"
    return sighting.judged[life.owner]


def _rank(grave: Severity | None) -> int:
    return -1 if grave is None else SEVERITIES.index(grave)


def _note(
    db: sqlite3.Connection, sighting: Sighting, life: _Life, act: journal.Act, why: str
) -> None:
    journal.append(
        db,
        at=sighting.at,
        who=f"run {sighting.run}",
        act=act,
        subject=life.id,
        why=why,
        **_facts(life),
        as_of=sighting.session.isoformat(),
    )


def _by_person(
    db: sqlite3.Connection,
    life: _Life,
    act: journal.Act,
    who: str,
    user: str,
    why: str,
    at: datetime,
) -> dict[str, Any]:
    facts = _facts(life) | {"severity": life.severity, "user": user}
    journal.append(db, at=at, who=who, act=act, subject=life.id, why=why, **facts)
    _save(db, life)
    [shown] = [row for row in listed(db, bot=life.bot, is_all=True) if row["break"] == life.id]
    return shown


def _facts(life: _Life) -> dict[str, Any]:
    names = ("account", "bot", "kind", "session", "amount", "first_seen")
    return {name: getattr(life, name) for name in names}


def _save(db: sqlite3.Connection, life: _Life) -> None:
    marks = ", ".join("?" * len(COLUMNS))
    values = [getattr(life, each.name) for each in fields(life)]
    db.execute(f"replace into breaks ({', '.join(COLUMNS)}) values ({marks})", values)


def _life(db: sqlite3.Connection, prefix: str) -> _Life:
    """Return the one break that stands and whose id begins so; UsageError names what there is."""
    prefix = prefix.strip().lower()
    rows = db.execute(f"select {', '.join(COLUMNS)} from breaks order by bot, kind, session")
    lives = [_Life(*row) for row in rows]
    standing = [life for life in lives if life.status in STANDING]
    matching = [life for life in standing if prefix and life.id.startswith(prefix)]
    if len(matching) == 1:
        return matching[0]
    ended = [life for life in lives if prefix and life.id.startswith(prefix)]
    if matching:
        problem = f"{prefix} is the beginning of {len(matching)} breaks: write more of it"
    elif ended:
        problem = f"{prefix} is {ended[0].status}: there is nothing to say of it"
    else:
        problem = f"there is no break {prefix!r}"
    raise UsageError("\n".join([problem, *_candidates(matching or standing)]))


def _candidates(lives: Sequence[_Life]) -> list[str]:
    if not lives:
        return ["no break stands: `recon breaks --all` shows those that did"]
    return [
        f"  {life.id}  {life.bot} {life.kind} {life.session} {life.amount} ({life.status})"
        for life in lives
    ]
