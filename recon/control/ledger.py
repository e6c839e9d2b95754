"""The control database: runs, sessions, breaks, sign-offs, outbox and journal, in SQLite.

It is a file beside the warehouse: small, written with `synchronous = FULL`, and readable and
writable during a run. So its decisions survive a full disk or a broken warehouse. `Ledger` is its
only interface. `database.py` opens the file, and the other modules of this package have the tables.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, Self

from recon.control import (
    assignments,
    breaks,
    expected_sessions,
    heartbeat_incidents,
    journal,
    manifests,
    outbox,
    reply_cursors,
    sign_offs,
)
from recon.control.assignments import Assignment
from recon.control.breaks import Break, BreakObservation
from recon.control.database import open_control
from recon.control.heartbeat_incidents import Told
from recon.control.manifests import Held, Manifest
from recon.control.outbox import PendingMessage, Unacknowledged
from recon.control.reply_cursors import Acknowledgement, Cursor
from recon.control.sign_offs import Signature, SignedOff
from recon.control.transaction import transaction
from recon.core.calendars import Calendar
from recon.core.liveness import Known, Trouble
from recon.core.page import Page
from recon.core.records import Clock
from recon.errors import UsageError, clean_up, closing
from recon.system.interruption import asked

CONTROL = "control.sqlite"
"""The name of its file in the state folder."""


class Ledger:
    """An open control database. Each method that writes commits a transaction of its own."""

    def __init__(self, path: Path) -> None:
        self._db: sqlite3.Connection = open_control(path)
        self._path, self._file = path, path.stat()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        clean_up(self._db.close, after=error)

    def is_in_place(self) -> bool:
        """Return whether the path still names the open file; a restore replaces it."""
        return self._path.exists() and os.path.samestat(self._path.stat(), self._file)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Commit the writes of the block atomically."""
        with transaction(self._db):
            yield

    @contextmanager
    def running(self, run: str, as_of: date, now: Clock) -> Iterator[datetime]:
        """Record the begin of a run and, if the block raises, its failure or interruption.

        Yields the time at which the run began.
        """
        started = now()
        self.begin_run(run, as_of, started)
        try:
            yield started
        except BaseException as error:
            is_asked = asked() or isinstance(error, KeyboardInterrupt)
            status = "interrupted" if is_asked else "failed"
            clean_up(lambda: self._break_off(run, status, now()), after=error)
            raise

    def _break_off(self, run: str, status: str, at: datetime) -> None:
        """Record the end of a run that has published nothing."""
        self._db.execute(
            "update runs set ended_at = ?, status = ? where run = ? and document is null",
            (at.isoformat(), status, run),
        )

    def begin_run(self, run: str, as_of: date, at: datetime) -> None:
        """Record that a run began."""
        self._db.execute(
            "insert into runs (run, as_of, started_at) values (?, ?, ?)",
            (run, as_of.isoformat(), at.isoformat()),
        )

    def publish_run(
        self, run: str, session: date, at: datetime, document: Mapping[str, Any], *, is_whole: bool
    ) -> None:
        """Record the publication of a run's document.

        `is_whole` says that the run asked every account. Only then is its session published.
        """
        with transaction(self._db):
            self.end_run(run, at, document)
            if is_whole:
                expected_sessions.publish(self._db, session, run, at)

    def end_run(self, run: str, at: datetime, document: Mapping[str, Any]) -> None:
        """Record the end of a run, with its document; a second call replaces both."""
        with transaction(self._db):
            self._db.execute(
                "update runs set ended_at = ?, status = ?, document = ? where run = ?",
                (at.isoformat(), document["status"], json.dumps(document), run),
            )
            for entry in document["accounts"]:
                self._db.execute(
                    """
                    insert into published select ?, as_of from runs where run = ?
                    on conflict (account) do update set session = max(session, excluded.session)
                    """,
                    (entry["account"], run),
                )

    def record_breaks(self, observation: BreakObservation) -> list[dict[str, Any]]:
        """Record the breaks that a run found, and return every standing break.

        A break of a judged bot that was not found is cleared. A break of a bot that could not be
        judged stays as it is. A session that is older than the account's last published one changes
        nothing.
        """
        with transaction(self._db):
            accounts = self.current(observation.accounts, observation.session)
            breaks.record_observation(
                self._db,
                replace(
                    observation,
                    accounts=accounts,
                    judged={o: why for o, why in observation.judged.items() if o[0] in accounts},
                    found=[item for item in observation.found if item.account in accounts],
                ),
            )
        return self.breaks()

    def breaks(self, *, bot: str | None = None, is_all: bool = False) -> list[dict[str, Any]]:
        """Return standing breaks, or all, of one bot or of every bot, as they are shown."""
        return breaks.listed(self._db, bot=bot, is_all=is_all)

    def current(self, accounts: Collection[str], session: date) -> set[str]:
        """Return the accounts of which no later session is published."""
        published = self.published()
        return {name for name in accounts if published.get(name, session) <= session}

    def published(self) -> dict[str, date]:
        """Return the latest published session of each account, proven or not."""
        rows = self._db.execute("select account, session from published")
        return {account: date.fromisoformat(session) for account, session in rows}

    def acknowledged(self, found: Sequence[Break]) -> set[tuple[str, str]]:
        """Return each (account, bot) all of whose breaks among these are acknowledged."""
        return breaks.acknowledged(self._db, found)

    def acknowledge(
        self, prefix: str, *, who: str, user: str, note: str, at: datetime
    ) -> dict[str, Any]:
        """Acknowledge the break whose id begins with `prefix`; return it. Raises UsageError."""
        return breaks.acknowledge(self._db, prefix, who=who, user=user, note=note, at=at)

    def resolve(
        self, prefix: str, *, who: str, user: str, reason: str, at: datetime
    ) -> dict[str, Any]:
        """Resolve the break whose id begins with `prefix`; return it. Raises UsageError."""
        return breaks.resolve(self._db, prefix, who=who, user=user, reason=reason, at=at)

    def sign_off(self, bot: str, difference: Mapping[str, Any], signature: Signature) -> list[str]:
        """Record a signature on a bot's reported divergence; return all its signers."""
        return sign_offs.sign(self._db, bot, difference, signature)

    def signed_off(
        self, account: str, bot: str, *, since: date, session: date, signers: int
    ) -> SignedOff | None:
        """Return the sign-off that holds for a bot as of a session, or None."""
        return sign_offs.signed_off(
            self._db, account, bot, since=since, session=session, signers=signers
        )

    def assign(self, made: Sequence[Assignment], user: str) -> None:
        """Record a person's assignments of orders; the next run applies them."""
        assignments.assign(self._db, made, user)

    def assignments(self) -> list[Assignment]:
        """Return every assignment ever made, in order."""
        return assignments.history(self._db)

    def journal_end(self) -> journal.End:
        """Return the number of entries in the journal, and the hash of the last."""
        return journal.end(self._db)

    def audit(self, head: str | None = None) -> tuple[journal.Audit, list[str]]:
        """Return the audit of the journal, and the breaks that differ from a sound journal."""
        audit = journal.verify(self._db, head)
        sound = audit.altered is None
        return audit, breaks.disagreements(self._db) if sound else []

    def watched(self) -> dict[str, Known]:
        """Return the last known state of each watched bot."""
        return heartbeat_incidents.known(self._db)

    def see_beats(
        self, judged: Mapping[str, tuple[Known, Trouble | None]], at: datetime
    ) -> tuple[bool, list[Told]]:
        """Record one look at every watched bot.

        Returns whether an incident began or ended, and the pages that are due. A page stays due
        until `told_incidents` records it.
        """
        with transaction(self._db):
            is_news = heartbeat_incidents.see(self._db, judged, at)
            return is_news, heartbeat_incidents.due_pages(self._db)

    def watched_incidents(self) -> list[dict[str, Any]]:
        """Return the incidents of watched bots that stand."""
        return heartbeat_incidents.listed(self._db)

    def told_incidents(self, told: Told) -> None:
        """Record that a page of incidents is in the outbox."""
        heartbeat_incidents.record_enqueued(self._db, told.page, resolves=told.resolves)

    def told(
        self, as_of: date | None, known_at: datetime, accounts: Collection[str]
    ) -> dict[str, Any] | None:
        """Return the last document of a session that was reported by an instant, or None.

        It has at least these accounts. Without `as_of` it is that of the latest reported session.
        """
        rows = self._db.execute(
            """
            select document from runs
            where ended_at <= ? and document is not null and as_of = coalesce(?, as_of)
            order by as_of desc, ended_at desc, rowid desc
            """,
            (known_at.isoformat(), as_of and as_of.isoformat()),
        )
        for (text,) in rows:
            document: dict[str, Any] = json.loads(text)
            if set(accounts) <= {entry["account"] for entry in document["accounts"]}:
                return document
        return None

    def was_unproven(self, account: str) -> bool:
        """Return whether the last run that reported the account did not prove it."""
        return self._last_status("account", account) not in {None, "proven"}

    def was_agreed(self, bot: str) -> bool:
        """Return whether the bot agreed in the last run that reported it."""
        return self._last_status("bot", bot) == "agreed"

    def is_new(self) -> bool:
        """Return whether no run has ever published a document."""
        return not self._db.execute("select 1 from runs where document is not null").fetchone()

    def is_latest(self, session: date) -> bool:
        """Return whether no run has published a later session than this."""
        return all(published <= session for published in self.published().values())

    def begin_manifest(self, run: str, manifest: Manifest, at: datetime) -> int:
        """Record the manifest of a coming commit; return its number."""
        with transaction(self._db):
            return manifests.begin(self._db, run, manifest, at)

    def commit_manifest(self, number: int) -> None:
        """Record that the warehouse has committed a manifest."""
        with transaction(self._db):
            manifests.commit(self._db, number)

    def manifests(self) -> list[Held]:
        """Return the manifests of the last commits, the latest first."""
        return manifests.history(self._db)

    def restored(
        self, backup: str, manifest: Manifest, *, who: str, user: str, at: datetime
    ) -> None:
        """Record that the warehouse was restored from a backup."""
        with transaction(self._db):
            run = backup.rpartition("-")[2]
            manifests.commit(self._db, manifests.begin(self._db, run, manifest, at))
            why = "the warehouse was restored from this backup"
            journal.append(
                self._db, at=at, who=who, act="restore", subject=backup, why=why, user=user
            )

    def copy_to(self, path: Path) -> None:
        """Write a copy of the control database to a new file."""
        with closing(sqlite3.connect(path)) as copy:
            self._db.backup(copy)

    def last_manifest(self) -> Manifest:
        """Return the last committed manifest."""
        return manifests.last(self._db)

    def expect(self, through: date, calendars: Collection[Calendar], at: datetime) -> list[date]:
        """Record that the sessions through this one are expected; return the unpublished ones.

        Publications in the future, by a clock that was ahead, are undone first.
        """
        with transaction(self._db):
            expected_sessions.take_back(self._db, through, at)
            days = expected_sessions.sessions_after(
                expected_sessions.last(self._db), through, calendars
            )
            expected_sessions.expect(self._db, days, at)
            return [day for day in expected_sessions.missing(self._db) if day <= through]

    def missed(self) -> list[date]:
        """Return the expected sessions that were never published, the earliest first."""
        return expected_sessions.missing(self._db)

    def _last_status(self, what: Literal["account", "bot"], name: str) -> str | None:
        found = self._db.execute(
            f"""
            select a.value ->> 'status' from runs r, json_each(r.document, '$.{what}s') a
            where a.value ->> '{what}' = ? order by r.rowid desc limit 1
            """,
            (name,),
        ).fetchone()
        return None if found is None else str(found[0])

    def enqueue(self, page: Page, at: datetime) -> None:
        """Commit a page to the outbox, from which every page is sent."""
        with transaction(self._db):
            outbox.enqueue(self._db, page, at)

    def refresh_outbox(self, at: datetime) -> list[PendingMessage]:
        """Enqueue repeats, resolve ended incidents; return every message to be sent."""
        with transaction(self._db):
            outbox.repeat_and_resolve(self._db, at)
            found = outbox.pending(self._db)
            superseded = outbox.superseded(found)
            outbox.settle(self._db, superseded, at)
        return [one for one in found if one.id not in superseded]

    def record_attempt(
        self, message: int, channel: str, name: str, reason: str, at: datetime
    ) -> None:
        """Record one attempt to send a message through a channel; no reason means delivered."""
        with transaction(self._db):
            outbox.record_attempt(self._db, message, channel, name, reason, at)

    def settle_messages(self, messages: Collection[int], at: datetime) -> None:
        """Record that nothing is left to send of these messages."""
        with transaction(self._db):
            outbox.settle(self._db, messages, at)

    def incidents(self, prefix: str = "") -> list[dict[str, Any]]:
        """Return the standing incidents whose key begins with `prefix`, the oldest first."""
        return outbox.standing(self._db, prefix)

    def deliveries(self, key: str) -> list[dict[str, Any]]:
        """Return each channel's last attempt to send the last page of an incident."""
        return outbox.deliveries(self._db, key)

    def acknowledge_page(
        self,
        prefix: str,
        *,
        who: str,
        user: str,
        note: str,
        at: datetime,
        seen_at: datetime | None = None,
    ) -> dict[str, Any]:
        """Acknowledge the incident whose key begins with `prefix`, and its breaks; return it.

        Raises UsageError where there is none or several, or where the incident began or grew graver
        after `seen_at`.
        """
        with transaction(self._db):
            incident = outbox.acknowledge(self._db, prefix, who=who, note=note, seen_at=seen_at)
            for row in self.breaks():
                if row["break"] in incident["subjects"]:
                    self.acknowledge(row["break"], who=who, user=user, note=note, at=at)
        return incident

    def unacknowledged_incidents(self) -> list[Unacknowledged]:
        """Return the incidents that nobody has acknowledged as they stand, the oldest first."""
        return outbox.unacknowledged(self._db)

    def claim_reply_source(self, source: str, at: datetime, until: datetime) -> Cursor | None:
        """Reserve a source of replies for one reader; return its cursor, or None if not due."""
        with transaction(self._db):
            return reply_cursors.claim(self._db, source, at, until)

    def apply_replies(
        self,
        source: str,
        before: Cursor,
        after: str | None,
        acknowledgements: Sequence[Acknowledgement],
        at: datetime,
        due: datetime,
    ) -> list[tuple[str, str]]:
        """Apply replies received after the cursor and advance it, atomically.

        Return for each the key of the incident that it acknowledged, or an empty one, and a
        sentence about it. The list is empty where another reader has applied them.
        """
        with transaction(self._db):
            if not reply_cursors.advance(self._db, source, before, after, at, due):
                return []
            return [self._apply(one, at) for one in acknowledgements]

    def record_unread_replies(
        self, source: str, before: Cursor, at: datetime, due: datetime
    ) -> datetime | None:
        """Record that a source's replies could not be read; return the time of the first failure.

        None where another reader has read them meanwhile.
        """
        with transaction(self._db):
            return reply_cursors.record_unread(self._db, source, before, at, due)

    def has_unread_replies(self, group: str, at: datetime) -> bool:
        """Return whether the replies of a source in a group cannot be read now."""
        return reply_cursors.has_unread(self._db, group, at)

    def _apply(self, one: Acknowledgement, at: datetime) -> tuple[str, str]:
        try:
            incident = self.acknowledge_page(
                one.key, who=one.who, user=one.user, note=one.note, at=at, seen_at=one.seen_at
            )
        except UsageError as error:
            return "", f"not acknowledged: {error}"
        return incident["key"], f"acknowledged: {incident['key']}  {incident['title']}"
