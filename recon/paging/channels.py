"""Channels: their URLs, checked before anything else and sent through in child processes.

apprise swallows errors, and a server that drips keeps its process alive: so each message leaves
through `python -m recon.paging.send`, which is killed at its deadline. URLs are secrets: they go
to the child on its standard input, and are shown masked.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

from recon.config.settings import Channel as Configured
from recon.config.settings import Paging
from recon.core.page import Message
from recon.core.records import Severity
from recon.core.tolerance import SEVERITIES
from recon.errors import ConfigError
from recon.paging.notifiers import Channel, assert_private, requests_for, understood
from recon.system.child_process import Child, end_all

DEADLINE_S = 30.0
MOST_AT_ONCE = 32
"""Child processes side by side."""


class Outlet(NamedTuple):
    """A channel as it is configured: who it is, from which severity on, in which list.

    `id` is a hash of its URL, so that the ledger knows it again and has no secret.
    """

    id: str
    channel: Channel
    severity: Severity
    is_second: bool = False

    def hears(self, severity: Severity) -> bool:
        """Return whether it is told of what is so grave."""
        return SEVERITIES.index(severity) >= SEVERITIES.index(self.severity)


class Result(NamedTuple):
    """What became of one message in one channel, and how long it took; no reason is delivered."""

    reason: str
    seconds: float


def outlets(paging: Paging, *, is_strict: bool = True) -> list[Outlet]:
    """Return all that is configured, each once.

    Raises ConfigError for what cannot be used; or else, not `is_strict`, leaves it out.
    """
    found: dict[str, Outlet] = {}
    lists = ((paging.channels, False), (paging.escalation, True))
    for configured, is_second in lists:
        for one in configured:
            try:
                made = outlet(one, is_second=is_second)
            except ConfigError:
                if is_strict:
                    raise
                continue
            found.setdefault(made.id, made)
    return list(found.values())


def targets(every: Sequence[Outlet], severity: Severity, *, is_escalated: bool) -> list[Outlet]:
    """Return through which of them something so grave goes: where no list wants it, through all.

    The second list hears what is escalated, and everything where there is no first.
    """
    first = [one for one in every if not one.is_second]
    second = [one for one in every if one.is_second]
    reached = first + second if is_escalated or not first else first
    return [one for one in reached if one.hears(severity)] or reached


def send(
    jobs: Sequence[tuple[Channel, Message]], *, deadline_s: float = DEADLINE_S
) -> Iterator[tuple[int, Result]]:
    """Send each message through its channel, side by side; yield what became of which, as it does.

    A channel that has not answered by the deadline counts as failed.
    """
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        sent = {
            pool.submit(_send, channel, message, deadline_s): number
            for number, (channel, message) in enumerate(jobs)
        }
        try:
            for done in as_completed(sent):
                yield sent[done], done.result()
        except BaseException:  # interrupted: nobody waits for what is still on its way
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise


def _send(channel: Channel, message: Message, deadline_s: float) -> Result:
    job = {
        **message._asdict(),
        "url": channel.url,
        "deadline_s": deadline_s + 1.0,  # its own end, if there is nobody left to end it
        "requests": [each._asdict() for each in requests_for(channel, message)]
        if channel.is_ours
        else [],
    }
    begun = time.monotonic()
    reason = _child(job, deadline_s)
    return Result(reason, time.monotonic() - begun)


def _child(job: dict[str, Any], deadline_s: float) -> str:
    """Give the job to a child process; return why it was not delivered, or nothing."""
    try:
        status, said = Child("recon.paging.send", job).end(deadline_s)
    except OSError as error:
        return f"no process could be started for it ({error.strerror})"
    if status is None:
        return f"no answer within {deadline_s:g} s"
    return "" if status == 0 else said.strip() or f"exit status {status}"


def outlet(one: Configured, *, is_second: bool = False) -> Outlet:
    """Return one channel as it is configured. Raises ConfigError for what cannot be used."""
    try:
        channel = understood(*one.revealed)
        assert_private(channel, is_allowed=one.allow_plain_http)
    except ConfigError as error:
        where = "paging.escalation" if is_second else "paging.channels"
        raise ConfigError(str(error).replace("paging.channels", where, 1)) from error
    id_ = hashlib.sha256(f"{channel.url} {one.base_url or ''}".encode()).hexdigest()[:12]
    return Outlet(id_, channel, one.severity, is_second)
