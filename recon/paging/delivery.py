"""Delivery: the pages of a run are decided, and the messages in the outbox are sent.

Pages are decided in the transaction that records the breaks. Messages are sent afterwards: at the
end of a run, and each minute by `recon page send`. One process sends at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from recon.control.breaks import Break
from recon.control.ledger import CONTROL, Ledger
from recon.control.outbox import PendingMessage, is_due
from recon.core.page import MAX_BODY, Message, Page
from recon.core.records import Clock, Severity
from recon.core.tolerance import SEVERITIES
from recon.errors import ReconError, StateError
from recon.paging.channels import DEADLINE_S, Recipient, select_recipients, send
from recon.report.page_text import bot_of_subject, subjects_to_page, write_page
from recon.system.state_folder import assert_ours, held, storing, write_whole

Note = Callable[[str], None]
NIGHTS = "night-"
"""The beginning of the keys of runs' incidents."""
NO_LONGER_WATCHED = "no longer watched"
UNDELIVERED = "PAGES-NOT-DELIVERED.txt"
"""The file in the state folder with the pages that are not delivered through every channel."""
NO_CHANNEL = "PAGE NOT DELIVERED: no channel is configured: add [paging] channels"
LOCK_WAIT_S = 60.0
"""How long a process waits for another one that is sending."""


class Watched(NamedTuple):
    """The ids of the accounts and bots in the configuration."""

    accounts: Collection[str]
    bots: Collection[str]


class Delivered(NamedTuple):
    """The result of one round: messages settled, messages that wait, and the attempts that failed.

    `failed` has (channel's name, reason) for each attempt of this round.
    """

    settled: int
    waiting: int
    failed: list[tuple[str, str]]


def decide(
    ledger: Ledger,
    document: Mapping[str, Any],
    found: Sequence[Break],
    config_path: str,
    at: datetime,
    watched: Watched | None = None,
) -> list[dict[str, Any]]:
    """Enqueue the page of a run, within the caller's transaction; return the incidents it is about.

    A run has one page for everything. Subjects that an earlier run has paged keep their incident,
    whose text is updated. If any subject is new or worse, all subjects form a new incident. Earlier
    incidents then end, except for subjects of other accounts, and for breaks that stand and are
    acknowledged or could not be judged.
    A subject whose bot or account is not `watched` (None: all are) leaves its incident, and the
    incident's body says so. Its break does not change.
    """
    rows = {row["break"]: row for row in ledger.breaks()}
    acknowledged = {id_ for id_, row in rows.items() if row["status"] == "acknowledged"}
    open_breaks = {item.id: item.account for item in found if item.id not in acknowledged}
    to_page = subjects_to_page(document, open_breaks)
    known = {item.bot for item in found} - {i.bot for i in found if i.id in open_breaks}
    written = write_page(document, config_path, known)
    judged = {item["account"] for item in document["accounts"]}
    current = ledger.current(judged, date.fromisoformat(document["as_of"]))
    before = ledger.incidents(NIGHTS)
    paged = {subject for one in before for subject in one["subjects"]}
    new = (
        set()
        if written is None
        else {s for s in to_page if s not in paged}
        | {
            s
            for s in open_breaks
            if s in rows and rows[s]["last_action"]["by"] == f"run {document['run']}"
        }
    )
    for one in before:
        gone = {} if watched is None else _no_longer_watched(one["subjects"], rows, watched)
        remaining = {
            subject: account
            for subject, account in one["subjects"].items()
            if subject not in gone
            and (account not in current or (not new if subject in to_page else subject in rows))
        }
        is_updated = written is not None and any(s in to_page for s in remaining)
        title, body = written if written and is_updated else (one["title"], one["body"])
        if not remaining:
            how = "told in a new page" if new else "RESOLVED"
            if gone.keys() == one["subjects"].keys():
                how = NO_LONGER_WATCHED
            elif gone or NO_LONGER_WATCHED in one["body"]:
                how = f"{how} or {NO_LONGER_WATCHED}"
            title = f"recon {document['as_of']}: {how}: {one['title']}"
            body = f"as of {document['as_of']}, run {document['run']}"
        body = _with_no_longer_watched(body, one["body"], gone)
        severity = _severity(rows, remaining)
        ledger.enqueue(Page(one["key"], title, body, severity, not remaining, remaining), at)
    if new and written is not None:
        key = f"{NIGHTS}{document['as_of']}-{document['run']}"
        page = Page(key, *written, _severity(rows, to_page), subjects=to_page)
        ledger.enqueue(page, at)
    return [
        one
        for one in ledger.incidents(NIGHTS)
        if one["status"] == "open" and any(subject in to_page for subject in one["subjects"])
    ]


def _no_longer_watched(
    subjects: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]], watched: Watched
) -> dict[str, str]:
    """Return the subjects of an incident that are no longer watched, each with a sentence."""
    gone = {}
    for subject, account in subjects.items():
        row = rows.get(subject, {})
        bot = bot_of_subject(subject) or row.get("bot")
        if account not in watched.accounts:
            missing = f"account {account}"
        elif bot is not None and bot not in watched.bots:
            missing = f"bot {bot}"
        else:
            continue
        sentence = f"{NO_LONGER_WATCHED}: the configuration does not name {missing} any more"
        if row:
            sentence += (
                f"; its break {subject} stays {row['status']} until  recon resolve {subject}"
            )
        gone[subject] = sentence
    return gone


def _with_no_longer_watched(body: str, before: str, gone: Mapping[str, str]) -> str:
    """Return a body with a line for each subject that has ever left its incident."""
    earlier = [line for line in before.splitlines() if line.startswith(NO_LONGER_WATCHED)]
    present = body.splitlines()
    lines = [line for line in dict.fromkeys([*earlier, *gone.values()]) if line not in present]
    return "\n".join([body, *lines])[:MAX_BODY]


def deliver(
    state: Path,
    ledger: Ledger,
    recipients: Sequence[Recipient],
    now: Clock,
    note: Note,
    *,
    deadline_s: float = DEADLINE_S,
) -> Delivered:
    """Send every message that is due, and record each channel's result; note the failures.

    Each message is tried once through each channel. A failed attempt is due again later. Raises
    LockedError while another process goes on sending.
    """
    settled, tried, failed = 0, set(), []
    with _sending(state):
        while True:
            pending = ledger.refresh_outbox(now())
            due = [
                (one, recipient)
                for one, recipient in _next_messages(pending, recipients)
                if (one.id, recipient.key) not in tried
                and is_due(one.due_at.get(recipient.key, one.at), now())
            ]
            done = [one.id for one in pending if recipients and not _outstanding(one, recipients)]
            ledger.settle_messages(done, now())
            settled += len(done)
            if not due:
                break
            jobs = [(recipient.channel, one.message) for one, recipient in due]
            for number, result in send(jobs, deadline_s=deadline_s):
                one, recipient = due[number]
                tried.add((one.id, recipient.key))
                ledger.record_attempt(one.id, recipient.key, recipient.name, result.reason, now())
                if result.reason:
                    failed.append((recipient.name, result.reason))
        waiting = [one for one in pending if one.id not in done]
        _write_undelivered(state, waiting, note)
    for name, reason in failed:
        note(f"PAGE NOT DELIVERED through {name}: {reason}")
    if waiting and not recipients:
        note(NO_CHANNEL)
    if waiting and (failed or not recipients):
        note(f"{len(waiting)} pages wait: {state / UNDELIVERED} has them")
    return Delivered(settled, len(waiting), failed)


def page_at_once(
    state: Path, page: Page, recipients: Sequence[Recipient], now: Clock, note: Note
) -> None:
    """Send a page about a failure that may affect the control database too. Never raises for it.

    It goes through the outbox if that can be used. Otherwise it goes once through every channel, or
    into the file of undelivered pages. The caller prints the error that the page is about, so it is
    not noted here.
    """
    try:
        assert_ours(state)
        if not (state / CONTROL).exists():
            raise StateError(f"{state / CONTROL} is missing")
        with storing(state), Ledger(state / CONTROL) as ledger:
            ledger.enqueue(page, now())
            deliver(state, ledger, recipients, now, note)
    except Exception as error:  # noqa: BLE001 - whatever it is, somebody has to know
        reason = str(error) if isinstance(error, ReconError) else type(error).__name__
        if recipients and reason not in page.body:
            note(f"the page goes past the outbox: {reason}")
        _send_past_the_outbox(state, page, recipients, now, note)


def _send_past_the_outbox(
    state: Path, page: Page, recipients: Sequence[Recipient], now: Clock, note: Note
) -> None:
    """Send a page once through every channel; if none accepts it, write it to the file."""
    key, title, body, severity, *_ = page.readable()
    message = Message(key, title, body, severity)
    results = dict(send([(one.channel, message) for one in recipients]))
    for number, result in results.items():
        if result.reason:
            note(f"PAGE NOT DELIVERED through {recipients[number].name}: {result.reason}")
    try:
        assert_ours(state)
    except ReconError:
        return  # no file is written to another user's folder
    if not recipients:
        note(NO_CHANNEL)
    if all(result.reason for result in results.values()) and state.is_dir():
        _write_undelivered(state, [PendingMessage(0, now(), False, message, frozenset(), {})], note)


def page_results(ledger: Ledger, incidents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a document's `pages`: each incident with the result of its last page.

    `status` is delivered, partial or failed; `channels` has each channel's last attempt.
    """
    pages = []
    for one in incidents:
        channels = ledger.deliveries(one["key"])
        delivered = sum(each["status"] == "delivered" for each in channels)
        status = "partial" if delivered else "failed"
        if delivered and delivered == len(channels):
            status = "delivered"
        pages.append(
            {"page": one["key"], "status": status, "title": one["title"], "channels": channels}
        )
    return pages


def _next_messages(
    pending: Sequence[PendingMessage], recipients: Sequence[Recipient]
) -> Iterator[tuple[PendingMessage, Recipient]]:
    """Yield the first outstanding message of each incident for each channel."""
    seen = set()
    for one in pending:
        for recipient in _outstanding(one, recipients):
            if (one.message.key, recipient.key) not in seen:
                seen.add((one.message.key, recipient.key))
                yield one, recipient


def _outstanding(one: PendingMessage, recipients: Sequence[Recipient]) -> list[Recipient]:
    """Return the channels that should receive a message and have not."""
    selected = select_recipients(recipients, one.message.severity, is_escalated=one.is_escalated)
    return [recipient for recipient in selected if recipient.key not in one.delivered_to]


def _write_undelivered(state: Path, waiting: Sequence[PendingMessage], note: Note) -> None:
    """Write the undelivered messages to a file for people; remove it when there is none."""
    path = state / UNDELIVERED
    try:
        _write_or_remove(path, waiting)
    except OSError as error:
        note(f"{path} cannot be written ({error.strerror}): `recon page send` says what waits")


def _write_or_remove(path: Path, waiting: Sequence[PendingMessage]) -> None:
    if not waiting:
        path.unlink(missing_ok=True)
        return
    texts = [
        f"{one.at:%Y-%m-%d %H:%M} UTC  {one.message.title}\n\n{one.message.body}" for one in waiting
    ]
    write_whole(path, ("\n\n" + "─" * 40 + "\n\n").join(texts) + "\n")


def _sending(state: Path) -> AbstractContextManager[None]:
    """Hold the lock of the process that sends. Raises LockedError after a minute of waiting."""
    path = state / "outbox.lock"
    otherwise = "another process is sending pages: {lock}: it marks what it sends; try again"
    return held(path, otherwise, LOCK_WAIT_S)


def _severity(rows: Mapping[str, Mapping[str, Any]], subjects: Mapping[str, str]) -> Severity:
    """Return the gravest severity of the subjects. A hole in the evidence is major."""
    each: list[Severity] = [rows.get(s, {}).get("severity") or "major" for s in subjects]
    return max(each, key=SEVERITIES.index, default="minor")
