"""Delivery: what a run pages is decided, and what waits in the outbox goes out.

Deciding is a part of the transaction that notes the breaks. Sending comes after, at the end of a
run and from `recon page send`, each minute; one process sends at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from recon.control.breaks import Break
from recon.control.ledger import CONTROL, Ledger
from recon.control.outbox import Waiting, is_due
from recon.core.page import MAX_BODY, Message, Page
from recon.core.records import Clock, Severity
from recon.core.tolerance import SEVERITIES
from recon.errors import ReconError, StateError
from recon.paging.channels import DEADLINE_S, Outlet, send, targets
from recon.report.page_text import BOT_HOLE, concerns, write_page
from recon.system.state_folder import assert_ours, held, storing, write_whole

Note = Callable[[str], None]
NIGHTS = "night-"
"""What the keys of runs' incidents begin with."""
NO_LONGER_WATCHED = "no longer watched"
UNDELIVERED = "PAGES-NOT-DELIVERED.txt"
"""The file in the state folder that has every page which some channel has not taken."""
NO_CHANNEL = "PAGE NOT DELIVERED: no channel is configured: add [paging] channels"
PATIENCE_S = 60.0
"""How long one that sends waits for another that does."""


class Watched(NamedTuple):
    """The names of the accounts and of the bots that the configuration has."""

    accounts: Collection[str]
    bots: Collection[str]


class Delivered(NamedTuple):
    """What one round of sending came to: messages settled, and (channel, why) of those that wait.

    A message that waits and was not tried now names no channel's failure again.
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
    """Enqueue what a run has to page, within the caller's step; return the incidents that it is of.

    One page for all of it. What an earlier run has paged is the same incident, told anew. Where
    anything is new or worse, all of it is a new one, and the earlier one ends, but for what it has
    of other accounts, and breaks that stand and are acknowledged or could not be judged.
    A subject whose bot or account is not `watched` (None: all are) leaves its incident, and the
    incident says so; its break stays as it is.
    """
    rows = {row["break"]: row for row in ledger.breaks()}
    quiet = {id_ for id_, row in rows.items() if row["status"] == "acknowledged"}
    loud_breaks = {item.id: item.account for item in found if item.id not in quiet}
    loud = concerns(document, loud_breaks)
    known = {item.bot for item in found} - {i.bot for i in found if i.id in loud_breaks}
    written = write_page(document, config_path, known)
    judged = {item["account"] for item in document["accounts"]}
    current = ledger.current(judged, date.fromisoformat(document["as_of"]))
    before = ledger.incidents(NIGHTS)
    paged = {subject for one in before for subject in one["subjects"]}
    news = (
        set()
        if written is None
        else {s for s in loud if s not in paged}
        | {
            s
            for s in loud_breaks
            if s in rows and rows[s]["last_action"]["by"] == f"run {document['run']}"
        }
    )
    for one in before:
        gone = {} if watched is None else _gone(one["subjects"], rows, watched)
        still = {
            subject: account
            for subject, account in one["subjects"].items()
            if subject not in gone
            and (account not in current or (not news if subject in loud else subject in rows))
        }
        is_told_anew = written is not None and any(s in loud for s in still)
        title, body = written if written and is_told_anew else (one["title"], one["body"])
        if not still:
            how = "told in a new page" if news else "RESOLVED"
            if gone.keys() == one["subjects"].keys():
                how = NO_LONGER_WATCHED
            elif gone or NO_LONGER_WATCHED in one["body"]:
                how = f"{how} or {NO_LONGER_WATCHED}"
            title = f"recon {document['as_of']}: {how}: {one['title']}"
            body = f"as of {document['as_of']}, run {document['run']}"
        body = _with_the_gone(body, one["body"], gone)
        ledger.enqueue(
            Page(one["key"], title, body, _severity(rows, still), not still, still or {}), at
        )
    if news and written is not None:
        key = f"{NIGHTS}{document['as_of']}-{document['run']}"
        ledger.enqueue(Page(key, *written, _severity(rows, loud), subjects=loud), at)
    return [
        one
        for one in ledger.incidents(NIGHTS)
        if one["status"] == "open" and any(subject in loud for subject in one["subjects"])
    ]


def _gone(
    subjects: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]], watched: Watched
) -> dict[str, str]:
    """Return which subjects of an incident are no longer watched, each with words for it."""
    gone = {}
    for subject, account in subjects.items():
        row = rows.get(subject, {})
        bot = row.get("bot")
        if subject.startswith(BOT_HOLE):
            bot = subject.removeprefix(BOT_HOLE).rpartition(" ")[0]
        if account not in watched.accounts:
            what = f"account {account}"
        elif bot is not None and bot not in watched.bots:
            what = f"bot {bot}"
        else:
            continue
        words = f"{NO_LONGER_WATCHED}: the configuration does not name {what} any more"
        if row:
            words += f"; its break {subject} stays {row['status']} until  recon resolve {subject}"
        gone[subject] = words
    return gone


def _with_the_gone(body: str, before: str, gone: Mapping[str, str]) -> str:
    """Return a page's body with a line for each subject that has left its incident, ever."""
    earlier = [line for line in before.splitlines() if line.startswith(NO_LONGER_WATCHED)]
    there = body.splitlines()
    lines = [line for line in dict.fromkeys([*earlier, *gone.values()]) if line not in there]
    return "\n".join([body, *lines])[:MAX_BODY]


def deliver(
    state: Path,
    ledger: Ledger,
    channels: Sequence[Outlet],
    now: Clock,
    note: Note,
    *,
    deadline_s: float = DEADLINE_S,
) -> Delivered:
    """Send all that is due in the outbox, and mark what each channel took; say what it did not.

    Each message is tried once through each channel; what fails is due again later. Raises
    LockedError where another process goes on sending.
    """
    settled, tried, failed = 0, set(), []
    with _sending(state):
        while True:
            left = ledger.tend_pages(now())
            due = [
                (message, outlet)
                for message, outlet in _next(left, channels)
                if (message.id, outlet.id) not in tried
                and is_due(message.due_at.get(outlet.id, message.at), now())
            ]
            done = [one.id for one in left if channels and not _wanting(one, channels)]
            ledger.settle_pages(done, now())
            settled += len(done)
            if not due:
                break
            jobs = [(outlet.channel, message.said) for message, outlet in due]
            for number, result in send(jobs, deadline_s=deadline_s):
                message, outlet = due[number]
                tried.add((message.id, outlet.id))
                ledger.mark_page(message.id, outlet.id, outlet.channel.name, result.reason, now())
                if result.reason:
                    failed.append((outlet.channel.name, result.reason))
        waiting = [one for one in left if one.id not in done]
        _keep_at_hand(state, waiting, note)
    for name, reason in failed:
        note(f"PAGE NOT DELIVERED through {name}: {reason}")
    if waiting and not channels:
        note(NO_CHANNEL)
    if waiting and (failed or not channels):
        note(f"{len(waiting)} pages wait: {state / UNDELIVERED} has them")
    return Delivered(settled, len(waiting), failed)


def page_at_once(
    state: Path, page: Page, channels: Sequence[Outlet], now: Clock, note: Note
) -> None:
    """Page of what may have broken the ledger as well: through the outbox, or else past it.

    Past it, it goes through every channel once, or else into the file. Never raises for what is
    broken. Its caller prints the error that the page is about: it is not printed here again.
    """
    try:
        assert_ours(state)
        if not (state / CONTROL).exists():
            raise StateError(f"{state / CONTROL} is missing")
        with storing(state), Ledger(state / CONTROL) as ledger:
            ledger.enqueue(page, now())
            deliver(state, ledger, channels, now, note)
    except Exception as error:  # noqa: BLE001 - whatever it is, somebody has to know
        why = str(error) if isinstance(error, ReconError) else type(error).__name__
        if channels and why not in page.body:
            note(f"the page goes past the outbox: {why}")
        _send_past_the_outbox(state, page, channels, now, note)


def _send_past_the_outbox(
    state: Path, page: Page, channels: Sequence[Outlet], now: Clock, note: Note
) -> None:
    """Send a page through every channel once; where none takes it, leave it in the file."""
    key, title, body, severity, *_ = page.readable()
    said = Message(key, title, body, severity)
    results = dict(send([(one.channel, said) for one in channels]))
    for number, result in results.items():
        if result.reason:
            note(f"PAGE NOT DELIVERED through {channels[number].channel.name}: {result.reason}")
    try:
        assert_ours(state)
    except ReconError:
        return  # no file is left in another user's folder
    if not channels:
        note(NO_CHANNEL)
    if all(result.reason for result in results.values()) and state.is_dir():
        _keep_at_hand(state, [Waiting(0, now(), False, said, frozenset(), {})], note)


def told_pages(ledger: Ledger, paged: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the incidents of a run as its document has them, with what became of each page."""
    pages = []
    for one in paged:
        channels = ledger.told_pages(one["key"])
        taken = sum(each["status"] == "delivered" for each in channels)
        status = "partial" if taken else "failed"
        if taken and taken == len(channels):
            status = "delivered"
        pages.append(
            {"page": one["key"], "status": status, "title": one["title"], "channels": channels}
        )
    return pages


def _next(left: Sequence[Waiting], channels: Sequence[Outlet]) -> Iterator[tuple[Waiting, Outlet]]:
    """Yield what may be sent now: of each incident, through each channel, the first that waits."""
    seen = set()
    for message in left:
        for outlet in _wanting(message, channels):
            if (message.said.key, outlet.id) not in seen:
                seen.add((message.said.key, outlet.id))
                yield message, outlet


def _wanting(message: Waiting, channels: Sequence[Outlet]) -> list[Outlet]:
    reached = targets(channels, message.said.severity, is_escalated=message.is_escalated)
    return [outlet for outlet in reached if outlet.id not in message.taken]


def _keep_at_hand(state: Path, waiting: Sequence[Waiting], note: Note) -> None:
    """Leave what was not delivered in a file that a person finds; remove it when all has been."""
    path = state / UNDELIVERED
    try:
        _write_or_remove(path, waiting)
    except OSError as error:
        note(f"{path} cannot be written ({error.strerror}): `recon page send` says what waits")


def _write_or_remove(path: Path, waiting: Sequence[Waiting]) -> None:
    if not waiting:
        path.unlink(missing_ok=True)
        return
    texts = [f"{one.at:%Y-%m-%d %H:%M} UTC  {one.said.title}\n\n{one.said.body}" for one in waiting]
    write_whole(path, ("\n\n" + "─" * 40 + "\n\n").join(texts) + "\n")


def _sending(state: Path) -> AbstractContextManager[None]:
    """Be the one process that sends. Raises LockedError after a minute of waiting."""
    path = state / "outbox.lock"
    otherwise = "another process is sending pages: {lock}: it marks what it sends; try again"
    return held(path, otherwise, PATIENCE_S)


def _severity(rows: Mapping[str, Mapping[str, Any]], subjects: Mapping[str, str]) -> Severity:
    """Return how grave the gravest of it is; a hole in the evidence is major."""
    each: list[Severity] = [rows.get(s, {}).get("severity") or "major" for s in subjects]
    return max(each, key=SEVERITIES.index, default="minor")
