"""Listening: whether somebody has acknowledged a page where it arrived, in Telegram or PagerDuty.

Nobody is asked anything where no incident stands unanswered. Each place is asked by a child process
of its own, and by one of ours at a time; what it says is dealt with in one transaction, and nothing
is ever taken for an answer that is none: where nobody can be asked, the repeats go on.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

from recon.control.ledger import Ledger
from recon.control.outbox import Unanswered
from recon.control.reply_cursors import Mark
from recon.core.page import Page
from recon.core.records import CheckItem, Clock
from recon.errors import ReconError, clean_up
from recon.paging.channels import Outlet
from recon.paging.notifiers import telegram_request
from recon.paging.reply_parsers import no_answer
from recon.paging.reply_sources import PagerDutyIncident, Place, TelegramBot
from recon.system.child_process import Child

DEADLINE_S = 10.0
"""For one question, and for one word in reply."""
PACE = timedelta(seconds=10)
"""How long a place is left alone once it has been asked."""
PACE_IN_TROUBLE = timedelta(minutes=1)
MOST_AT_ONCE = 8
MOST_ROUNDS = 20
"""How often one call asks anew where there is more: two hundred updates of a bot."""
POLL_S = 0.02
UNREAD_FOR = timedelta(minutes=30)
"""How long a place's answers cannot be read before somebody is paged of it."""
UNREAD = "answers-"
"""What the keys of incidents of answers that cannot be read begin with."""
_log = logging.getLogger(__name__)
Note = Callable[[str], None]


class _Going(NamedTuple):
    """A child that has been started: what is done with its exit status and what it printed."""

    child: Child
    until: float
    then: Callable[[int | None, str], None]
    is_question: bool


class Listener:
    """Asks, and deals with what was answered; `note` is told of what cannot be had.

    What was asked in one call of `listen` may be dealt with in a later one, so that nobody who
    looks at bots meanwhile has to wait. To be closed, as a context manager is.
    """

    def __init__(
        self,
        ledger: Ledger,
        channels: Sequence[Outlet],
        now: Clock,
        note: Note,
        *,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._ledger = ledger
        self._channels = channels
        self._now = now
        self._note = note
        self._deadline_s = deadline_s
        self._going: list[_Going] = []
        self._acknowledged: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Let what is said in reply be said; what was asked is there to be asked the next time."""
        clean_up(self._end, after=error)

    def _end(self) -> None:
        for one in self._going:
            if one.is_question:
                one.child.end()
            else:
                one.then(*one.child.end(one.until - time.monotonic()))
        self._going = []

    def listen(self, *, waits: bool = False) -> list[str]:
        """Deal with what has been answered by now, and ask again where it is time.

        Return the keys of what was acknowledged. One that `waits` does so until there is no more to
        ask, twice the deadline at most.
        """
        until = time.monotonic() + self._deadline_s
        self._take()
        for _ in range(MOST_ROUNDS):
            is_asking = self._ask()
            while waits and any(one.is_question for one in self._going):
                time.sleep(POLL_S)
                self._take()
            if not (waits and is_asking) or time.monotonic() > until:
                break
        acknowledged, self._acknowledged = self._acknowledged, []
        return acknowledged

    def _take(self) -> None:
        """Deal with every child that has ended, or must."""
        going, self._going = self._going, []
        for one in going:
            if one.child.is_done or time.monotonic() > one.until:
                one.then(*one.child.end())  # which may start another
            else:
                self._going.append(one)

    def _ask(self) -> bool:
        """Ask each place that is due; return whether there was one."""
        unanswered = self._ledger.unanswered()
        room = MOST_AT_ONCE - len(self._going)
        asked = 0
        for place in places(self._channels, unanswered) if unanswered else ():
            if asked >= room:
                break
            now = self._now()
            lease = timedelta(seconds=2 * self._deadline_s)
            mark = self._ledger.claim_place(place.key, now, now + lease)
            if mark is not None:
                asked += 1
                self._start_asking(place, mark, now)
        return asked > 0

    def _start_asking(self, place: Place, mark: Mark, at: datetime) -> None:
        def deal(status: int | None, printed: str) -> None:
            with self._reading(place, mark):
                self._deal(place, mark, _said(status, printed, self._deadline_s))

        with self._reading(place, mark):
            job = {"request": place.question(mark, at)._asdict(), "reader": place.reader}
            self._start("recon.paging.poll_child", job, deal, is_question=True)

    @contextmanager
    def _reading(self, place: Place, mark: Mark) -> Iterator[None]:
        """Be the one boundary round reading a place's answers: what goes wrong ends here.

        Whatever an answer does to its reader, pages are sent and other places are read.
        """
        try:
            yield
        except (ReconError, sqlite3.OperationalError, sqlite3.IntegrityError):
            raise  # of the control database: no disk, a lock
        except Exception as error:  # noqa: BLE001 - whatever it is, pages are sent
            _log.debug("answers through %s", place.name, exc_info=True)
            self._unread(
                place, mark, f"what was answered cannot be dealt with ({_place_of(error)})"
            )

    def _start(
        self,
        module: str,
        job: dict[str, Any],
        then: Callable[[int | None, str], None],
        *,
        is_question: bool,
    ) -> None:
        try:
            child = Child(module, {**job, "deadline_s": self._deadline_s + 1.0})
        except OSError as error:
            self._note(f"no process could be started for it ({error.strerror})")
            return
        until = time.monotonic() + self._deadline_s
        self._going.append(_Going(child, until, then, is_question))

    def _deal(self, place: Place, mark: Mark, said: dict[str, Any]) -> None:
        at = self._now()
        if said["problem"]:
            self._unread(place, mark, said["problem"], said["pause_s"])
            return
        heard = place.heard(said["said"], mark, at)
        due = at if heard.is_more else at + PACE
        done = self._ledger.hear(
            place.key, mark, heard.mark, [each.answer for each in heard.answers], at, due
        )
        self._end_unread(place, at)
        if not done and heard.answers:
            return  # somebody else has dealt with them
        if heard.strangers:
            chats = ", ".join(sorted(set(heard.strangers)))
            self._note(
                f"{place.name}: {len(heard.strangers)} messages ignored, of chats that no channel "
                f"names: {chats}"
            )
        replies = []
        for each, (key, words) in zip(heard.answers, done, strict=True):
            self._acknowledged += [key] if key else []
            if each.reply is not None:
                replies.append(each.reply(f"recon: {words}")._asdict())
            elif not key:
                self._note(f"{place.name}: {each.answer.who}: {words}")
        if replies:
            self._reply(place, replies)

    def _unread(self, place: Place, mark: Mark, problem: str, pause_s: int = 0) -> None:
        """Say that a place's answers were not read, and page of it where that stays so."""
        at = self._now()
        self._note(f"ANSWERS NOT READ through {place.name}: {problem}")
        pause = max(PACE_IN_TROUBLE, timedelta(seconds=pause_s))
        with self._ledger.step():
            since = self._ledger.hear_nothing(place.key, mark, at, at + pause)
            if since is not None and at - since >= UNREAD_FOR:
                title = f"recon: answers through {place.name} cannot be read"
                body = (
                    f"since {since:%Y-%m-%d %H:%M} UTC: {problem}\n\nWhat is acknowledged there is "
                    "not heard, and pages are repeated. Acknowledge with  recon ack"
                )
                self._ledger.enqueue(Page(_unread_key(place), title, body, "minor"), at)

    def _end_unread(self, place: Place, at: datetime) -> None:
        """End the incident of answers that could not be read, once all of a channel's can be."""
        key = _unread_key(place)
        if self._ledger.incidents(key) and not self._ledger.is_any_unread(_source(place), at):
            title = f"recon: answers through {place.name} can be read again"
            self._ledger.enqueue(Page(key, title, "", "minor", resolves=True), at)

    def _reply(self, place: Place, requests: list[dict[str, Any]]) -> None:
        """Say in the chat what became of answers: once, as good as it goes."""

        def told(status: int | None, printed: str) -> None:
            if status != 0:
                why = printed or "no answer in time"
                self._note(f"{place.name}: what became of an answer could not be said: {why}")

        job = {"url": "", "requests": requests}
        self._start("recon.paging.send", job, told, is_question=False)


def places(channels: Iterable[Outlet], unanswered: Iterable[Unanswered]) -> list[Place]:
    """Return where these incidents may have been answered: each bot once, whatever names it."""
    bots: dict[str, TelegramBot] = {}
    incidents: list[Place] = []
    waiting = list(unanswered)
    for outlet in channels:
        channel = outlet.channel
        if channel.service == "tgram":
            chats = frozenset(_chat(chat) for chat, _ in channel.plugin.targets)
            bot = TelegramBot(channel, chats)
            known = bots.setdefault(bot.key, bot)
            bots[bot.key] = known._replace(chats=known.chats | chats)
        elif channel.service == "pagerduty" and channel.api_token is not None:
            incidents += [
                PagerDutyIncident(channel, outlet.id, one.key)
                for one in waiting
                if outlet.id in one.channels
            ]
    return [*bots.values(), *incidents]


def check_answers(channels: Sequence[Outlet]) -> list[CheckItem]:
    """Try whether what people answer can be read through each channel; nothing is changed."""
    every = [Unanswered("recon-check", frozenset(each.id for each in channels))]
    children = []
    for place in places(channels, every):
        request, reader = place.question(Mark(), datetime.now(UTC)), place.reader
        if isinstance(place, TelegramBot):  # which is not to be asked what was written to it
            request, reader = telegram_request(place.channel, "getWebhookInfo", {}), "webhook"
        job = {"request": request._asdict(), "reader": reader, "deadline_s": DEADLINE_S + 1.0}
        children.append((place.name, Child("recon.paging.poll_child", job)))
    until = time.monotonic() + DEADLINE_S
    items = [
        CheckItem(
            f"answers through {each.channel.name}", "not read: it has no api_token", is_ok=True
        )
        for each in channels
        if each.channel.keeps_incidents and each.channel.api_token is None
    ]
    for name, child in children:
        problem = _said(*child.end(until - time.monotonic()), DEADLINE_S)["problem"]
        detail = problem or "can be read, while no other program reads them"
        items.append(CheckItem(f"answers through {name}", detail, is_ok=not problem))
    return items


def _said(status: int | None, printed: str, deadline_s: float) -> dict[str, Any]:
    """Return what a child has read; where it has ended otherwise, that nothing is known."""
    if status is None:
        return no_answer(f"no answer within {deadline_s:g} s")
    try:
        said: dict[str, Any] = json.loads(printed)
    except ValueError:
        return no_answer(f"no answer: exit status {status}")
    return said


def _source(place: Place) -> str:
    """Return what the keys of all places of one channel begin with."""
    return "/".join(place.key.split("/")[:2])


def _unread_key(place: Place) -> str:
    return f"{UNREAD}{_source(place)}"


def _place_of(error: Exception) -> str:
    """Return the type of an error and where it was raised. Its text may have what was answered."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def _chat(chat: int | str) -> int | str:
    return chat.lower() if isinstance(chat, str) else chat
