"""Expected sessions, in the control ledger: which ones a night is due for, and which had it.

A session is expected once, from the first night on, and published once; one that was missed stays
expected until a later night has caught up with it.
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
TOLD = """
insert into published
select a.value ->> 'account', max(r.as_of)
from runs r, json_each(r.document, '$.accounts') a where r.ended_at <= ? group by 1
"""
"""What runs had told by an instant: the latest session of each account."""


def sessions_after(
    after: date | None, through: date, calendars: Collection[Calendar]
) -> Iterable[date]:
    """Yield the as-of dates after one and through another: each that is a session of some account.

    Without a first one, the last alone: what was before the first night nobody expected.
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
    """Note that these are expected, within the caller's transaction."""
    db.executemany(
        "insert or ignore into sessions (session, expected_at) values (?, ?)",
        [(day.isoformat(), at.isoformat()) for day in sessions],
    )


def missing(db: sqlite3.Connection) -> list[date]:
    """Return the sessions that are expected and were never published, the earliest first."""
    rows = db.execute("select session from sessions where run is null order by session")
    return [date.fromisoformat(row["session"]) for row in rows]


def take_back(db: sqlite3.Connection, through: date, at: datetime) -> None:
    """Believe the clock, within the caller's transaction: what was told later than now was not.

    A clock that was ahead, and is right again, has told of sessions that have not ended. Those are
    expected when their day comes, and what was told of any session by then is due once more.
    """
    now, today = at.isoformat(), at.date().isoformat()
    not_yet = "session > ? and session >= ?"
    db.execute(f"delete from sessions where {not_yet}", (through.isoformat(), today))
    db.execute("update sessions set run = null, published_at = null where published_at > ?", (now,))
    if db.execute("select 1 from runs where ended_at > ?", (now,)).fetchone():
        db.execute("delete from published")
        db.execute(TOLD, (now,))


def publish(db: sqlite3.Connection, session: date, run: str, at: datetime) -> None:
    """Note which run published an expected session first, within the caller's transaction."""
    db.execute(
        "update sessions set run = ?, published_at = ? where session = ? and run is null",
        (run, at.isoformat(), session.isoformat()),
    )
