"""Acknowledgements from where a page arrived: replies are read, applied and confirmed.

Replies are read only while an incident is unacknowledged. A child process of its own reads each
source, and only one process reads a source at a time. Its replies are applied in one transaction.
Replies that cannot be read count as no acknowledgement: the repeats go on.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

from recon.control.ledger import Ledger
from recon.control.outbox import Unacknowledged
from recon.control.reply_cursors import Cursor
from recon.core.page import Page
from recon.core.records import CheckItem, Clock
from recon.errors import ReconError, clean_up
from recon.paging.channels import Recipient
from recon.paging.service import Reading, ReplySource, Request
from recon.system.child_process import Child

DEADLINE_S = 10.0
"""For one request for replies, and for one confirmation."""
POLL_AGAIN_AFTER = timedelta(seconds=10)
RETRY_AFTER = timedelta(minutes=1)
"""The least time until a source whose replies could not be read is read again."""
MOST_AT_ONCE = 8
MOST_ROUNDS = 20
"""Rounds of one waiting call while there are more replies: two hundred updates of a bot."""
WAIT_S = 0.02
UNREAD_PAGED_AFTER = timedelta(minutes=30)
"""How long replies cannot be read before a page says so."""
UNREAD = "answers-"
"""The beginning of the keys of incidents of replies that cannot be read."""
CHECK_INCIDENT = "recon-check"
"""The key of an incident that does not exist, for a trial."""
_log = logging.getLogger(__name__)
Note = Callable[[str], None]


class _Task(NamedTuple):
    """A running child, its deadline, and the function that receives its exit status and output."""

    child: Child
    deadline: float
    finish: Callable[[int | None, str], None]
    is_read: bool


class ReplyPoller:
    """Reads replies and applies them. `note` receives what people should see at once.

    Replies requested in one call of `poll` may be applied in a later one, so that a caller with
    other work never waits. Use it as a context manager: it ends its child processes.
    """

    def __init__(
        self,
        ledger: Ledger,
        recipients: Sequence[Recipient],
        now: Clock,
        note: Note,
        *,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._ledger = ledger
        self._recipients = recipients
        self._now = now
        self._note = note
        self._deadline_s = deadline_s
        self._tasks: list[_Task] = []
        self._acknowledged: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Let confirmations finish, and end the reads: their replies stay for the next poller."""
        clean_up(self._end, after=error)

    def _end(self) -> None:
        for task in self._tasks:
            if task.is_read:
                task.child.end()
            else:
                task.finish(*task.child.end(task.deadline - time.monotonic()))
        self._tasks = []

    def poll(self, *, waits: bool = False) -> list[str]:
        """Apply the replies that have arrived, and read the sources that are due.

        Return the keys of the incidents acknowledged. With `waits`, go on until there are no more
        replies, for at most twice the deadline.
        """
        until = time.monotonic() + self._deadline_s
        self._finish_tasks()
        for _ in range(MOST_ROUNDS):
            has_started = self._start_reads()
            while waits and any(task.is_read for task in self._tasks):
                time.sleep(WAIT_S)
                self._finish_tasks()
            if not (waits and has_started) or time.monotonic() > until:
                break
        acknowledged, self._acknowledged = self._acknowledged, []
        return acknowledged

    def _finish_tasks(self) -> None:
        """Finish each task whose child has ended or has reached its deadline."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if task.child.is_done or time.monotonic() > task.deadline:
                task.finish(*task.child.end())  # which may start another task
            else:
                self._tasks.append(task)

    def _start_reads(self) -> bool:
        """Start to read each source that is due; return whether there was one."""
        incidents = self._ledger.unacknowledged_incidents()
        room = MOST_AT_ONCE - len(self._tasks)
        started = 0
        for source in reply_sources(self._recipients, incidents) if incidents else ():
            if started >= room:
                break
            now = self._now()
            reserved_until = now + timedelta(seconds=2 * self._deadline_s)
            cursor = self._ledger.claim_reply_source(source.key, now, reserved_until)
            if cursor is not None:
                started += 1
                self._start_read(source, cursor, now)
        return started > 0

    def _start_read(self, source: ReplySource, cursor: Cursor, at: datetime) -> None:
        def finish(status: int | None, printed: str) -> None:
            with self._contained(source, cursor):
                self._apply(source, cursor, _reading(status, printed, self._deadline_s))

        with self._contained(source, cursor):
            job = _read_job(source, source.request(cursor, at))
            self._start("recon.paging.poll_child", job, finish, is_read=True)

    @contextmanager
    def _contained(self, source: ReplySource, cursor: Cursor) -> Iterator[None]:
        """Turn any error about a source's replies into replies that could not be read.

        Pages are sent and other sources are read, whatever a reply does to its reader.
        """
        try:
            yield
        except (ReconError, sqlite3.OperationalError, sqlite3.IntegrityError):
            raise  # of the control database: a full disk, a lock
        except Exception as error:  # noqa: BLE001 - whatever it is, pages are sent
            _log.debug("replies through %s", source.name, exc_info=True)
            problem = f"what was answered cannot be dealt with ({_origin(error)})"
            self._record_unread(source, cursor, Reading([], problem))

    def _start(
        self,
        module: str,
        job: dict[str, Any],
        finish: Callable[[int | None, str], None],
        *,
        is_read: bool,
    ) -> None:
        try:
            child = Child(module, {**job, "deadline_s": self._deadline_s + 1.0})
        except OSError as error:
            self._note(f"no process could be started for it ({error.strerror})")
            return
        deadline = time.monotonic() + self._deadline_s
        self._tasks.append(_Task(child, deadline, finish, is_read))

    def _apply(self, source: ReplySource, cursor: Cursor, reading: Reading) -> None:
        """Apply what was read from a cursor, and confirm it to the people who wrote it."""
        at = self._now()
        if reading.problem:
            self._record_unread(source, cursor, reading)
            return
        replies = source.replies(reading.items, cursor, at)
        due = at if replies.is_more else at + POLL_AGAIN_AFTER
        results = self._ledger.apply_replies(
            source.key,
            cursor,
            replies.cursor,
            [each.acknowledgement for each in replies.found],
            at,
            due,
        )
        self._resolve_unread(source, at)
        if not results and replies.found:
            return  # another process has applied them
        if replies.strangers:
            chats = ", ".join(sorted(set(replies.strangers)))
            self._note(
                f"{source.name}: {len(replies.strangers)} messages ignored, of chats that no "
                f"channel names: {chats}"
            )
        confirmations = []
        for each, (key, sentence) in zip(replies.found, results, strict=True):
            self._acknowledged += [key] if key else []
            if each.confirm is not None:
                confirmations.append(each.confirm(f"recon: {sentence}")._asdict())
            elif not key:
                self._note(f"{source.name}: {each.acknowledgement.who}: {sentence}")
        if confirmations:
            self._confirm(source, confirmations)

    def _record_unread(self, source: ReplySource, cursor: Cursor, reading: Reading) -> None:
        """Note that a source's replies were not read, and page if that lasts."""
        at = self._now()
        self._note(f"ANSWERS NOT READ through {source.name}: {reading.problem}")
        retry_at = at + max(RETRY_AFTER, timedelta(seconds=reading.pause_s))
        with self._ledger.step():
            since = self._ledger.record_unread_replies(source.key, cursor, at, retry_at)
            if since is not None and at - since >= UNREAD_PAGED_AFTER:
                title = f"recon: answers through {source.name} cannot be read"
                body = (
                    f"since {since:%Y-%m-%d %H:%M} UTC: {reading.problem}\n\nAcknowledgements "
                    "there have no effect, and pages are repeated. Acknowledge with  recon ack"
                )
                self._ledger.enqueue(Page(_unread_key(source), title, body, "minor"), at)

    def _resolve_unread(self, source: ReplySource, at: datetime) -> None:
        """Resolve the incident of unread replies once all sources of the channel can be read."""
        key = _unread_key(source)
        if self._ledger.incidents(key) and not self._ledger.has_unread_replies(source.group, at):
            title = f"recon: answers through {source.name} can be read again"
            self._ledger.enqueue(Page(key, title, "", "minor", resolves=True), at)

    def _confirm(self, source: ReplySource, requests: list[dict[str, Any]]) -> None:
        """Send confirmations where the replies were written, once: a failure is only noted."""

        def finish(status: int | None, printed: str) -> None:
            if status != 0:
                reason = printed or "no answer in time"
                self._note(f"{source.name}: a confirmation could not be sent: {reason}")

        job = {"service": source.service, "requests": requests}
        self._start("recon.paging.send", job, finish, is_read=False)


def reply_sources(
    recipients: Iterable[Recipient], incidents: Iterable[Unacknowledged]
) -> list[ReplySource]:
    """Return where these incidents may have been acknowledged: each source once.

    The sources of channels with few come first, so that no channel is delayed by another's many.
    """
    every = list(incidents)
    by_channel = [
        recipient.channel.reply_sources(
            recipient.key, recipient.name, [i.key for i in every if recipient.key in i.channels]
        )
        for recipient in recipients
    ]
    sources: dict[str, ReplySource] = {}
    for source in (each for channel in sorted(by_channel, key=len) for each in channel):
        known = sources.get(source.key)
        sources[source.key] = source if known is None else known.merged(source)
    return list(sources.values())


def check_replies(recipients: Sequence[Recipient]) -> list[CheckItem]:
    """Return for each channel whether replies can be read through it. Changes nothing."""
    trial = [Unacknowledged(CHECK_INCIDENT, frozenset(each.key for each in recipients))]
    children = [
        (
            source.name,
            Child(
                "recon.paging.poll_child",
                {
                    **_read_job(source, source.check_request(), is_check=True),
                    "deadline_s": DEADLINE_S + 1.0,
                },
            ),
        )
        for source in reply_sources(recipients, trial)
    ]
    until = time.monotonic() + DEADLINE_S
    items = [
        CheckItem(f"answers through {each.name}", f"not read: it has no {missing}", is_ok=True)
        for each in recipients
        if (missing := each.channel.missing_for_replies())
    ]
    for name, child in children:
        problem = _reading(*child.end(until - time.monotonic()), DEADLINE_S).problem
        detail = problem or "can be read, while no other program reads them"
        items.append(CheckItem(f"answers through {name}", detail, is_ok=not problem))
    return items


def _read_job(source: ReplySource, request: Request, *, is_check: bool = False) -> dict[str, Any]:
    return {"service": source.service, "request": request._asdict(), "is_check": is_check}


def _reading(status: int | None, printed: str, deadline_s: float) -> Reading:
    """Return what a child has read, or the problem that it ended with."""
    if status is None:
        return Reading([], f"no answer within {deadline_s:g} s")
    try:
        return Reading(**json.loads(printed))
    except ValueError:
        return Reading([], f"no answer: exit status {status}")


def _unread_key(source: ReplySource) -> str:
    return f"{UNREAD}{source.group}"


def _origin(error: Exception) -> str:
    """Return an error's type and line of code, without its text, which may quote a reply."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
