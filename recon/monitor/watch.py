"""`recon watch`: check every bot's heartbeat and every session's deadline, and page incidents.

One turn reads, judges, records and pages. An incident is in the control database, and its page in
the outbox, before anything is sent. The states of containers and processes are never used: they
look well when a loop hangs.
"""

from __future__ import annotations

import faulthandler
import os
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from recon.config.settings import Bot, Config
from recon.control.heartbeat_incidents import Told
from recon.control.ledger import CONTROL, Ledger
from recon.core.liveness import LOOKS_A_PERIOD, Beat, Known, NoBeat, Trouble, judge
from recon.core.page import MAX_BODY, Page
from recon.core.records import Clock
from recon.errors import EvidenceError, ExitCode, LockedError, StateError
from recon.fetch.boundary import contained
from recon.fetch.heartbeats import Look, read_beats, rhythm
from recon.monitor.deadline import DEADLINES, due, missed
from recon.monitor.deadline import pages as deadline_pages
from recon.paging.acknowledgements import ReplyPoller
from recon.paging.channels import recipients
from recon.paging.delivery import deliver, page_results
from recon.system.output import echo
from recon.system.systemd import notify

TURN_S = 120.0
"""The limit of a turn: reading 10 s, the control database 30 s, pages 30 s, replies 20 s."""
LONGEST_PAUSE_S = 15.0
MOST_NAMED = 20
Wait = Callable[[float], bool]
"""Waits for a number of seconds; returns whether to stop."""


@dataclass(frozen=True, slots=True)
class Watch:
    """The parts of a watch. `note` prints messages at once."""

    config: Config
    ledger: Ledger
    note: Callable[[str], None]
    now: Clock = lambda: datetime.now(UTC)

    @property
    def bots(self) -> list[Bot]:
        """The bots that have a heartbeat."""
        return [bot for bot in self.config.bots if bot.heartbeat is not None]

    @property
    def pause_s(self) -> float:
        """The wait between two turns, short enough for the bot with the shortest period."""
        periods_s = [bot.heartbeat.period_s for bot in self.bots if bot.heartbeat is not None]
        return min([LONGEST_PAUSE_S, *(each / LOOKS_A_PERIOD for each in periods_s)])


def turn(watch: Watch) -> tuple[dict[str, Any], bool]:
    """Check every bot and every deadline once; return the document, and whether it has news.

    News is an incident that began or ended, or a page. Raises ConfigError for an unknown calendar,
    StateError if the control database was replaced, as by a restore.
    """
    if not watch.ledger.is_in_place():
        raise StateError(
            f"{watch.config.state / CONTROL} was replaced or removed since the watch began: "
            "start  recon watch  again (systemd does so by itself)"
        )
    bots = watch.bots
    looks = read_beats(bots, watch.config.folder, watch.now)
    before = watch.ledger.watched()
    judged = {bot.id: _judged(watch, bot, looks[bot.id], before.get(bot.id)) for bot in bots}
    at = watch.now()
    is_news, due_pages = watch.ledger.see_beats(judged, at)
    deadlines, pages = _see_deadlines(watch, at)
    pages += _enqueued(watch, due_pages)
    document = {
        "schema": 1,
        "at": at,
        "bots": [_bot(bot.id, looks[bot.id], *judged[bot.id]) for bot in bots],
        "incidents": watch.ledger.watched_incidents(),
        "deadlines": deadlines,
        "pages": _sent(watch, pages),
    }
    return document, is_news or bool(pages)


def _judged(
    watch: Watch, bot: Bot, look: Look, before: Known | None
) -> tuple[Known, Trouble | None]:
    """Judge one bot's beat. A beat that cannot be judged counts as unreadable."""
    held_to = rhythm(watch.config, bot, look.at)
    try:
        with contained(f"heartbeat of {bot.id}"):
            return judge(look.reading, before, held_to, look.at)
    except EvidenceError as error:
        return judge(NoBeat(is_missing=False, why=str(error)), before, held_to, look.at)


def look_once(watch: Watch) -> dict[str, Any]:
    """Read acknowledgements, then check everything once; return the document."""
    with bounded(TURN_S), _poller(watch) as poller:
        poller.poll(waits=True)
        document, _ = turn(watch)
    return document


def stay(watch: Watch, wait: Wait, show: Callable[[dict[str, Any]], None]) -> None:
    """Check everything in a loop until `wait` returns True.

    Each finished turn notifies systemd. The first turn is shown, and later ones with news. A turn
    asks for acknowledgements and the next one reads the answer, so that no turn waits for it.
    """
    with _poller(watch) as poller:
        _stay(watch, poller, wait, show)
    notify("STOPPING=1")


def _stay(
    watch: Watch, poller: ReplyPoller, wait: Wait, show: Callable[[dict[str, Any]], None]
) -> None:
    is_first = True
    while True:
        with bounded(TURN_S):
            poller.poll()
            document, is_news = turn(watch)
        standing, watched = len(document["incidents"]), len(document["bots"])
        late = sum(each["is_missed"] for each in document["deadlines"])
        status = f"STATUS={watched} bots watched, {standing} incidents, {late} deadlines missed"
        notify(*(["READY=1"] if is_first else []), "WATCHDOG=1", status)
        if is_first or is_news:
            show(document)
        is_first = False
        if wait(watch.pause_s):
            break


def exit_code(document: Mapping[str, Any]) -> ExitCode:
    """Return the exit status of one look: 1 if an incident stands or a deadline is missed.

    It is 3 if a bot has not been seen yet.
    """
    if document["incidents"] or any(each["is_missed"] for each in document["deadlines"]):
        return ExitCode.DIVERGED
    is_known = all(bot["status"] == "alive" for bot in document["bots"])
    return ExitCode.AGREED if is_known else ExitCode.UNPROVEN


@contextmanager
def bounded(limit_s: float) -> Iterator[None]:
    """End the process with a traceback if the block takes longer than `limit_s`."""

    def end() -> None:
        echo(
            f"recon: a turn of the watch took longer than {limit_s:g} s: start it again",
            err=True,
        )
        faulthandler.dump_traceback()
        os._exit(ExitCode.BUG)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _poller(watch: Watch) -> ReplyPoller:
    return ReplyPoller(watch.ledger, recipients(watch.config.paging), watch.now, watch.note)


def _bot(bot: str, look: Look, known: Known, trouble: Trouble | None) -> dict[str, Any]:
    beat = look.reading if isinstance(look.reading, Beat) else None
    silent = "unknown" if beat is None else "alive"  # its first beat is not overdue yet
    return {
        "bot": bot,
        "status": "incident" if trouble else silent,
        "kind": trouble.kind if trouble else None,
        "why": trouble.why if trouble else getattr(look.reading, "why", None),
        "seq": beat.seq if beat else known.seq,
        "at": beat.at if beat else known.at,
        "last_bar_at": beat.last_bar_at if beat else None,
    }


def _see_deadlines(watch: Watch, at: datetime) -> tuple[list[dict[str, Any]], list[Page]]:
    """Compare the published sessions with the deadlines; return each account's state, and pages.

    The outbox has the incidents that stand. They are read and updated in one transaction.
    """
    dues = {one.account: one for one in due(watch.config, at)}
    with watch.ledger.step():
        published = watch.ledger.published()
        late = missed([*dues.values()], published)
        pages = deadline_pages(late, published, watch.ledger.incidents(DEADLINES), watch.config)
        for page in pages:
            watch.ledger.enqueue(page, at)
    shown = [
        {
            "account": account.id,
            "session": one.session if one else None,
            "needed_by": one.needed_by if one else None,
            "opens": one.opens_at if one else None,
            "published": published.get(account.id),
            "is_missed": one in late,
        }
        for account in watch.config.accounts
        for one in [dues.get(account.id)]
    ]
    return shown, pages


def _enqueued(watch: Watch, due: Sequence[Told]) -> list[Page]:
    """Commit the pages of incidents to the outbox, and mark them in the same transaction."""
    pages = [_page(watch.config, one) for one in due]
    for one, page in zip(due, pages, strict=True):
        with watch.ledger.step():
            watch.ledger.enqueue(page, watch.now())
            watch.ledger.told_incidents(one)
    return pages


def _sent(watch: Watch, pages: Sequence[Page]) -> list[dict[str, Any]]:
    """Send pending messages if there are new pages; return the results of those pages."""
    if not pages:
        return []
    try:
        channels = recipients(watch.config.paging)
        deliver(watch.config.state, watch.ledger, channels, watch.now, watch.note)
    except LockedError as error:
        watch.note(str(error))
    sent = page_results(watch.ledger, [page._asdict() for page in pages])
    return [{**one, "resolves": page.resolves} for one, page in zip(sent, pages, strict=True)]


def _page(config: Config, due: Told) -> Page:
    names = [each["bot"] for each in due.incidents]
    who = f"{names[0]} is" if len(names) == 1 else f"{len(names)} bots are"
    what = _how_ended(due) if due.resolves else "not alive"
    say = _end if due.resolves else _began
    lines = [say(each) for each in due.incidents[:MOST_NAMED]]
    more = len(names) - MOST_NAMED
    lines += [f"… and {more} more"] if more > 0 else []
    lines.append(f"\nNext:\n  recon watch --once --config {shlex.quote(str(config.path))}")
    title = f"recon watch: {who} {what}: {', '.join(names[:MOST_NAMED])}"
    return Page(due.page, title[:200], "\n".join(lines)[:MAX_BODY], "critical", due.resolves)


def _how_ended(due: Told) -> str:
    """Return how the incidents of a page ended. An unwatched bot does not count as alive."""
    gone = sum(each["unwatched_at"] is not None for each in due.incidents)
    if not gone:
        return "alive again"
    return "no longer watched" if gone == len(due.incidents) else "alive again or no longer watched"


def _began(incident: Mapping[str, Any]) -> str:
    return f"{incident['bot']}: {incident['kind'].upper()}: {incident['why']}"


def _end(incident: Mapping[str, Any]) -> str:
    since = f"not alive since {incident['opened_at'][:19]} ({incident['kind']})"
    if incident["unwatched_at"] is not None:
        at = incident["unwatched_at"][:19]
        return (
            f"{incident['bot']}: no longer watched from {at} on, as its heartbeat is no longer in "
            f"the configuration; last known: {since}"
        )
    return f"{incident['bot']}: recovered {incident['recovered_at'][:19]}, {since}"
