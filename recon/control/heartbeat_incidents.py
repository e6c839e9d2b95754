"""Incidents of bots that are not alive, and the last known state of each watched bot.

A bot has at most one standing incident. It ends when the bot is alive again or no longer watched.
The incidents that begin in one turn share a page, which is resolved once all of them have ended.
All functions run on the control database, within the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from recon.core.liveness import Known, Trouble

SHAPE = (
    """
    create table watched (
      bot text primary key, risen_at text not null, seq integer, at text, is_back integer not null,
      bar_at text, names_bar integer not null
    ) strict
    """,
    """
    create table watched_incidents (
      number integer primary key, incident text not null, bot text not null, kind text not null,
      why text not null, opened_at text not null, recovered_at text,
      page text, is_told integer not null default 0, is_resolved integer not null default 0,
      unwatched_at text
    ) strict
    """,
    "create unique index one_incident_a_bot on watched_incidents (bot) where recovered_at is null",
    "create index incidents_to_tell on watched_incidents (page) where is_resolved = 0",
)
COLUMNS = "incident, bot, kind, why, opened_at, recovered_at, unwatched_at"


class Told(NamedTuple):
    """A page that is due: its key, whether it resolves, and its incidents."""

    page: str
    resolves: bool
    incidents: list[dict[str, Any]]


def known(db: sqlite3.Connection) -> dict[str, Known]:
    """Return the last known state of each watched bot."""
    return {
        row["bot"]: Known(
            datetime.fromisoformat(row["risen_at"]),
            row["seq"],
            _read(row["at"]),
            bool(row["is_back"]),
            _read(row["bar_at"]),
            bool(row["names_bar"]),
        )
        for row in db.execute("select * from watched")
    }


def see(
    db: sqlite3.Connection, judged: Mapping[str, tuple[Known, Trouble | None]], at: datetime
) -> bool:
    """Record one look at every watched bot. Return whether an incident began or ended.

    The incident of a bot that is no longer watched ends: nobody knows whether the bot is alive.
    """
    before, standing = known(db), {row["bot"]: row for row in listed(db)}
    for bot in before.keys() - judged.keys():
        db.execute("delete from watched where bot = ?", (bot,))
    is_news = False
    for bot in standing.keys() - judged.keys():
        db.execute(
            "update watched_incidents set unwatched_at = ? where bot = ? and recovered_at is null",
            (at.isoformat(), bot),
        )
        _end(db, bot, at)
        is_news = True
    for bot, (after, trouble) in judged.items():
        if after != before.get(bot):
            db.execute(
                "insert or replace into watched values (?, ?, ?, ?, ?, ?, ?)",
                (bot, *(_text(value) for value in after)),
            )
        if trouble is None:
            if bot in standing:
                _end(db, bot, at)
                is_news = True
        elif bot not in standing:
            db.execute(
                "insert into watched_incidents (incident, bot, kind, why, opened_at) "
                "values (?, ?, ?, ?, ?)",
                (f"heartbeat-{bot}", bot, trouble.kind, trouble.why, at.isoformat()),
            )
            is_news = True
        elif standing[bot]["kind"] != trouble.kind:
            db.execute(
                "update watched_incidents set kind = ?, why = ? "
                "where bot = ? and recovered_at is null",
                (trouble.kind, trouble.why, bot),
            )
    return is_news


def listed(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the incidents that stand, the oldest first."""
    rows = db.execute(
        f"select {COLUMNS} from watched_incidents where recovered_at is null order by number"
    )
    return [dict(row) for row in rows]


def due_pages(db: sqlite3.Connection) -> list[Told]:
    """Assign new incidents to a page, and return the pages that are due, in order.

    The incidents since the last call share a page. A single one has the page of its bot.
    """
    fresh = db.execute(
        "select * from watched_incidents where page is null order by number"
    ).fetchall()
    if fresh:
        page = fresh[0]["incident"]
        if len(fresh) > 1:
            page = f"heartbeats-{fresh[0]['opened_at']}"
        db.execute("update watched_incidents set page = ? where page is null", (page,))
    opened = db.execute(
        "select * from watched_incidents where is_told = 0 order by page, number"
    ).fetchall()
    ended = db.execute(
        """
        select * from watched_incidents where is_resolved = 0 and page in (
          select page from watched_incidents where is_resolved = 0
          group by page having count(*) = count(recovered_at) and min(is_told) = 1
        ) order by page, number
        """
    ).fetchall()
    return [*_by_page(opened, resolves=False), *_by_page(ended, resolves=True)]


def record_enqueued(db: sqlite3.Connection, page: str, *, resolves: bool) -> None:
    """Record that a page is in the outbox."""
    column = "is_resolved" if resolves else "is_told"
    db.execute(
        f"update watched_incidents set {column} = 1 where page = ? and {column} = 0", (page,)
    )


def _end(db: sqlite3.Connection, bot: str, at: datetime) -> None:
    db.execute(
        "update watched_incidents set recovered_at = ? where bot = ? and recovered_at is null",
        (at.isoformat(), bot),
    )


def _by_page(rows: Collection[sqlite3.Row], *, resolves: bool) -> list[Told]:
    pages: dict[str, list[dict[str, Any]]] = {}
    names = COLUMNS.split(", ")
    for row in rows:
        pages.setdefault(row["page"], []).append({name: row[name] for name in names})
    return [Told(page, resolves, incidents) for page, incidents in pages.items()]


def _text(value: datetime | int | None) -> str | int | None:
    return value.isoformat() if isinstance(value, datetime) else value


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
