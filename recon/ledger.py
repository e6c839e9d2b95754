"""The control ledger: runs, breaks and pages, in SQLite, beside the warehouse and not in it.

It is small, written with `synchronous = FULL`, and readable and writable while a night runs, so
that what was decided outlives a full disk or a broken warehouse.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

SCHEMA = """
create table if not exists runs (
  run text primary key, as_of text not null, started_at text not null, ended_at text,
  status text, document text
) strict;
create table if not exists breaks (
  break text primary key, account text not null, bot text not null, kind text not null,
  first_seen text not null, last_seen text not null, amount text not null, status text not null
) strict;
create table if not exists pages (
  page text primary key, run text not null, at text not null, title text not null,
  body text not null, status text not null, channels text not null
) strict;
"""


class Break(NamedTuple):
    """One difference between truth and claim. `amount` is decimal text, claimed − truth."""

    account: str
    bot: str
    kind: str
    amount: str
    session: str = ""

    @property
    def id(self) -> str:
        """Return the break's identity: stable over nights, so no changing number is in it.

        What one session was off by is that session's own break.
        """
        key = [self.account, self.bot, self.kind, *([self.session] if self.session else [])]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]


class Ledger:
    """An open control ledger. Every method is its own committed transaction."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = full")
        self._db.executescript(SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def begin_run(self, run: str, as_of: date, at: datetime) -> None:
        """Record that a run began."""
        self._db.execute(
            "insert into runs (run, as_of, started_at) values (?, ?, ?)",
            (run, as_of.isoformat(), at.isoformat()),
        )

    def end_run(self, run: str, at: datetime, document: Mapping[str, Any]) -> None:
        """Record how a run ended, with the document that it told."""
        self._db.execute(
            "update runs set ended_at = ?, status = ?, document = ? where run = ?",
            (at.isoformat(), document["status"], json.dumps(document), run),
        )

    def see_breaks(
        self, session: date, judged: Iterable[tuple[str, str]], seen: Iterable[Break]
    ) -> list[dict[str, str]]:
        """Record tonight's breaks and return every one that is open, with when it was first seen.

        `judged` are the (account, bot) that were judged tonight: a break of theirs that is not seen
        any more is cleared; one of a bot that could not be judged stays as it is. One that returns
        is open again, first seen now. A session of an account that is older than one told already
        is only looked back at, and changes nothing.
        """
        today = session.isoformat()
        told = self._last_told()
        with self._transaction():
            found = [item for item in seen if told.get(item.account, "") <= today]
            for item in found:
                self._db.execute(
                    """
                    insert into breaks values (?, ?, ?, ?, ?, ?, ?, 'open')
                    on conflict (break) do update set
                      first_seen = case
                        when status = 'open' then min(first_seen, excluded.first_seen)
                        else excluded.first_seen end,
                      last_seen = max(last_seen, excluded.last_seen),
                      amount = excluded.amount,
                      status = 'open'
                    """,
                    (item.id, item.account, item.bot, item.kind, today, today, item.amount),
                )
            for account, bot in judged:
                if told.get(account, "") > today:
                    continue
                kept = [item.id for item in found if (item.account, item.bot) == (account, bot)]
                marks = ", ".join("?" * len(kept))
                self._db.execute(
                    f"update breaks set status = 'cleared' where account = ? and bot = ? "
                    f"and status = 'open' and break not in ({marks})",
                    (account, bot, *kept),
                )
        return self._open_breaks()

    def told(
        self, as_of: date | None, known_at: datetime, accounts: Collection[str]
    ) -> dict[str, Any] | None:
        """Return the document that was last told of a session until an instant, as it was told.

        Of these accounts, at least; without `as_of` of the latest session that was told by then.
        """
        rows = self._db.execute(
            """
            select document from runs
            where ended_at <= ? and document is not null and as_of = coalesce(?, as_of)
            order by as_of desc, ended_at desc
            """,
            (known_at.isoformat(), as_of and as_of.isoformat()),
        )
        for (text,) in rows:
            document: dict[str, Any] = json.loads(text)
            if set(accounts) <= {entry["account"] for entry in document["accounts"]}:
                return document
        return None

    def was_unproven(self, account: str) -> bool:
        """Return whether the last run that told of the account did not prove it."""
        return self._last_status("account", account) not in {None, "proven"}

    def was_agreed(self, bot: str) -> bool:
        """Return whether the bot agreed in the last run that told of it."""
        return self._last_status("bot", bot) == "agreed"

    def _last_status(self, what: Literal["account", "bot"], name: str) -> str | None:
        told = self._db.execute(
            f"""
            select a.value ->> 'status' from runs r, json_each(r.document, '$.{what}s') a
            where a.value ->> '{what}' = ? order by r.ended_at desc limit 1
            """,
            (name,),
        ).fetchone()
        return None if told is None else str(told[0])

    def _last_told(self) -> dict[str, str]:
        """Return the latest session that was told of each account."""
        rows = self._db.execute(
            """
            select a.value ->> 'account', max(r.as_of)
            from runs r, json_each(r.document, '$.accounts') a group by 1
            """
        )
        return dict(rows.fetchall())

    def _open_breaks(self) -> list[dict[str, str]]:
        rows = self._db.execute("select * from breaks where status = 'open' order by bot, kind")
        return [dict(row) for row in rows]

    def record_page(self, page: Mapping[str, Any], run: str, at: datetime) -> None:
        """Record a page before it is sent, or what became of it."""
        self._db.execute(
            """
            insert into pages values (?, ?, ?, ?, ?, ?, ?)
            on conflict (page) do update set status = excluded.status, channels = excluded.channels
            """,
            (
                page["page"], run, at.isoformat(), page["title"], page["body"], page["status"],
                json.dumps(page["channels"]),
            ),
        )  # fmt: skip

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")
