"""Channels as they are configured: each has a key, a name and a service, and is sent through.

apprise swallows errors, and a server that drips would keep a process alive. So each message leaves
through a child process, `python -m recon.paging.send`, which is killed at its deadline. A channel's
URL is a secret: it goes to the child on standard input, and is shown nowhere. People see its name.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

from recon.config.settings import Channel, Paging
from recon.core.page import Message
from recon.core.records import Severity
from recon.core.tolerance import SEVERITIES
from recon.errors import ConfigError
from recon.paging.notifiers import parse_channel
from recon.paging.service import Service
from recon.system.child_process import Child, end_all
from recon.system.web_address import is_loopback, refusal

DEADLINE_S = 30.0
MOST_AT_ONCE = 32
"""Child processes side by side."""


class Recipient(NamedTuple):
    """A configured channel, the least severity that it receives, and whether it is an escalation.

    `key` identifies the channel in the control database: a hash of its URL and base URL. It stays
    when `name` changes.
    """

    key: str
    name: str
    channel: Service
    severity: Severity
    is_escalation: bool = False

    def receives(self, severity: Severity) -> bool:
        """Return whether a page of this severity is grave enough for the channel."""
        return SEVERITIES.index(severity) >= SEVERITIES.index(self.severity)


class Result(NamedTuple):
    """How one message through one channel ended, and how long it took. No reason: delivered."""

    reason: str
    seconds: float


def configured(paging: Paging) -> Iterator[tuple[str, Recipient | ConfigError]]:
    """Yield each configured channel under its place in the file, or why it cannot be used.

    A channel without an `id` is named after its service and numbered among the channels of that
    service: `telegram 1`.
    """
    numbers: Counter[str] = Counter()
    lists = (("channels", paging.channels), ("escalation", paging.escalation))
    for list_name, channels in lists:
        for number, one in enumerate(channels, 1):
            place = f"paging.{list_name}.{one.id or number}"
            try:
                channel = _parse(one)
            except ConfigError as error:
                yield place, error
                continue
            numbers[channel.label] += 1
            name = one.id or f"{channel.label} {numbers[channel.label]}"
            is_escalation = list_name == "escalation"
            yield place, Recipient(_key(one), name, channel, one.severity, is_escalation)


def recipients(paging: Paging, *, is_strict: bool = True) -> list[Recipient]:
    """Return every configured channel, each once.

    Raises ConfigError for a channel that cannot be used, or leaves it out unless `is_strict`.
    """
    found: dict[str, Recipient] = {}
    for place, one in configured(paging):
        if isinstance(one, Recipient):
            found.setdefault(one.key, one)
        elif is_strict:
            raise ConfigError(f"{place}: {one}")
    return list(found.values())


def select_recipients(
    every: Sequence[Recipient], severity: Severity, *, is_escalated: bool
) -> list[Recipient]:
    """Return the channels for a page of this severity; if that leaves none, all of their list.

    Escalation channels receive escalated pages, and every page where there is no other channel.
    """
    first = [one for one in every if not one.is_escalation]
    second = [one for one in every if one.is_escalation]
    listed = first + second if is_escalated or not first else first
    return [one for one in listed if one.receives(severity)] or listed


def send(
    jobs: Sequence[tuple[Service, Message]], *, deadline_s: float = DEADLINE_S
) -> Iterator[tuple[int, Result]]:
    """Send each message through its channel, side by side; yield number and result as each ends.

    A channel that has not answered by the deadline has failed.
    """
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        sent = {
            pool.submit(_send, channel, message, deadline_s): number
            for number, (channel, message) in enumerate(jobs)
        }
        try:
            for done in as_completed(sent):
                yield sent[done], done.result()
        except BaseException:  # interrupted: nobody waits for the messages under way
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise


def _send(channel: Service, message: Message, deadline_s: float) -> Result:
    job = {
        **channel.job(message),
        "service": channel.name,
        "deadline_s": deadline_s + 1.0,  # the child ends itself if this process is gone
    }
    begun = time.monotonic()
    reason = _run_child(job, deadline_s)
    return Result(reason, time.monotonic() - begun)


def _run_child(job: dict[str, Any], deadline_s: float) -> str:
    """Run the job in a child process; return why it was not delivered, or nothing."""
    try:
        status, printed = Child("recon.paging.send", job).end(deadline_s)
    except OSError as error:
        return f"no process could be started for it ({error.strerror})"
    if status is None:
        return f"no answer within {deadline_s:g} s"
    return "" if status == 0 else printed.strip() or f"exit status {status}"


def _parse(one: Channel) -> Service:
    """Return a channel. Raises ConfigError also where its secret would leave without TLS."""
    channel = parse_channel(*one.revealed)
    try:
        route = channel.plain_route()
    except ValueError as error:
        raise ConfigError(f"its URL is no web address: {error}") from None
    if route is not None and not one.allow_plain_http and not is_loopback(route.host):
        secret = "pages and the channel's secret"  # noqa: S105 - words
        raise ConfigError(refusal(route.scheme, route.host, secret, route.secure))
    return channel


def _key(one: Channel) -> str:
    """Return the channel's key. Stored deliveries have it: it must never be made differently."""
    url, base_url, _ = one.revealed
    return hashlib.sha256(f"{url} {base_url or ''}".encode()).hexdigest()[:12]
