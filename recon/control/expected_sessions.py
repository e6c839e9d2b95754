"""Expected sessions in the control database: those that are due, and those that are published.

From the first nightly run on, each session is expected once and published once. A missed session
stays expected until a later run has caught up on it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta

from recon.core.calendars import Calendar

SHAPE = (
    """
    create table sessions (
      session text primary key, expected_at text not null, run text, published_at text
    ) strict
    """,
    "create table published (account text primary key, session text not null) strict",
)
LATEST_PUBLISHED = """
insert into published
select a.value ->> 'account', max(r.as_of)
from runs r, json_each(r.document, '$.accounts') a where r.ended_at <= ? group by 1
"""
"""Insert the latest session of each account that runs had published by an instant."""


def sessions_after(
    after: date | None, through: date, calendars: Collection[Calendar]
) -> Iterable[date]:
    """Yield the dates after `after` through `through` that are sessions of an account.

    Without `after`, yield only `through`: no session before the first run was expected.
    """
    if after is None:
        yield through
        return
    for day in (after + timedelta(days=n + 1) for n in range((through - after).days)):
        if any(each.session(day).date == day for each in calendars):
            yield day


def last(db: sqlite3.Connection) -> date | None:
    """Return the last session that has been expected."""
    found = db.execute("select max(session) from sessions").fetchone()[0]
    return None if found is None else date.fromisoformat(found)


def expect(db: sqlite3.Connection, sessions: Iterable[date], at: datetime) -> None:
    """Record that these sessions are expected, within the caller's transaction."""
    db.executemany(
        "insert or ignore into sessions (session, expected_at) values (?, ?)",
        [(day.isoformat(), at.isoformat()) for day in sessions],
    )


def missing(db: sqlite3.Connection) -> list[date]:
    """Return the sessions that are expected and were never published, the earliest first."""
    rows = db.execute("select session from sessions where run is null order by session")
    return [date.fromisoformat(row["session"]) for row in rows]


def take_back(db: sqlite3.Connection, through: date, at: datetime) -> None:
    """Undo publications at a time later than now, within the caller's transaction.

    A clock that was ahead made runs publish sessions that have not ended. They are expected again
    when they end, and every session that was published in the future is due again.
    """
    now, today = at.isoformat(), at.date().isoformat()
    not_yet = "session > ? and session >= ?"
    db.execute(f"delete from sessions where {not_yet}", (through.isoformat(), today))
    db.execute("update sessions set run = null, published_at = null where published_at > ?", (now,))
    if db.execute("select 1 from runs where ended_at > ?", (now,)).fetchone():
        db.execute("delete from published")
        db.execute(LATEST_PUBLISHED, (now,))


def publish(db: sqlite3.Connection, session: date, run: str, at: datetime) -> None:
    """Record the first run that published an expected session, within the caller's transaction."""
    db.execute(
        "update sessions set run = ?, published_at = ? where session = ? and run is null",
        (run, at.isoformat(), session.isoformat()),
    )
