"""Pings outwards: a run tells a dead-man's switch that it began, and how it ended.

The switch is a service elsewhere that raises the alarm when no ping comes, so that a machine that
is off is noticed, too. Its address is a secret. Each ping leaves through `run/ping_send.py`, a
child that is ended at its deadline: a ping that fails is said on stderr, and changes nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from recon.config.ping_address import read_ping
from recon.config.secrets import keys_of_secrets
from recon.config.toml_file import parse
from recon.errors import LONGEST_SUMMARY, ConfigError, clean_up, summary
from recon.system.child_process import Child

DEADLINE_S = 10.0
"""For one ping, all its attempts together."""

LAST_WAIT_S = 2.5
"""For what is left of the first ping when a run ends: the rest is for the last one."""

Note = Callable[[str], None]


class Run:
    """What the switch is told of a run that ended without an error."""

    ending = ("fail", "nothing was published")

    def published(
        self, documents: Sequence[Mapping[str, Any]], status: int, problem: str = ""
    ) -> None:
        """Take what a night published, its status, and what it left undone beside its pages."""
        problem = next(filter(None, [problem, *map(unfinished, documents)]), "")
        told = problem or f"{documents[-1]['status']} as of {documents[-1]['as_of']}"
        self.ending = (
            "fail" if problem else "success",
            f"exit status {status}: {told}"[:LONGEST_SUMMARY],
        )


def unfinished(document: Mapping[str, Any]) -> str:
    """Return why a run that was published has not done its work yet; nothing where it has.

    This is the one place that decides it: a success is pinged only where this is empty.
    """
    waiting = [page["page"] for page in document["pages"] if page["status"] != "delivered"]
    return f"not every channel has taken its page: {', '.join(waiting)}" if waiting else ""


def address(config_path: Path) -> str | None:
    """Return the switch's address, also from a configuration that is otherwise wrong.

    None where there is none, or it cannot be used: what is wrong is for `config.load` to say.
    """
    try:
        values = parse(config_path)
        keys_of_secrets(values)
        recon = values.get("recon")
        source = recon.get("ping") if isinstance(recon, dict) else None
        return None if source is None else read_ping(source, config_path.absolute().parent)
    except (ConfigError, ValueError):
        return None


def is_proxied(url: str) -> bool:
    """Return whether this machine's environment sends a URL through a proxy."""
    parts = urlsplit(url)
    return parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")


def unreachable(url: str, deadline_s: float = DEADLINE_S) -> str:
    """Return why the switch's host takes no connection; nothing where it does, with TLS for https.

    Nothing is asked of it, as any request may count as a ping: so whether it knows the check, only
    a run can tell.
    """
    return _ended(_send(url, "success", None, deadline_s), wait_s=deadline_s)


@contextmanager
def pinged(url: str | None, note: Note, deadline_s: float = DEADLINE_S) -> Iterator[Run]:
    """Ping `url` as the block begins and as it ends: well, or with what was raised.

    The first ping is not waited for; at its end a run waits `deadline_s` at most. Nothing raised by
    the block is changed. Without a `url` nobody is told.
    """
    run = Run()
    if url is None:
        yield run
        return
    begun = _send(url, "start", "", deadline_s)
    try:
        yield run
        _tell(url, begun, run.ending, note, deadline_s)
    except BaseException as error:
        ending = ("fail", summary(error))
        clean_up(lambda: _tell(url, begun, ending, note, deadline_s), after=error)
        raise


def _tell(
    url: str, begun: Child | None, ending: tuple[str, str], note: Note, deadline_s: float
) -> None:
    """End the first ping, then send the last one: never the other way round at the switch."""
    until = time.monotonic() + deadline_s
    problems = {"start": _ended(begun, wait_s=min(LAST_WAIT_S, deadline_s / 2))}
    left_s = until - time.monotonic()
    problems[ending[0]] = _ended(_send(url, *ending, left_s), wait_s=left_s)
    for name, problem in problems.items():
        if problem:
            note(f"PING NOT SENT: {name}: {problem}")


def _send(url: str, name: str, body: str | None, deadline_s: float) -> Child | None:
    """Start the process that sends one ping, or without a body only connects.

    None where there is no room for a process.
    """
    job = {"url": _at(url, name), "body": body, "deadline_s": deadline_s}
    try:
        return Child("recon.run.ping_send", job)
    except OSError:
        return None


def _ended(child: Child | None, *, wait_s: float) -> str:
    """Let a ping's process end, in time or not; return why it was not taken, or nothing."""
    if child is None:
        return "no process could be started"
    status, problem = child.end(wait_s)
    return "" if status == 0 else problem or "no answer in time"


def _at(url: str, name: str) -> str:
    """Return where a ping goes: success to the address itself, others beneath it."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/") + ("" if name == "success" else f"/{name}")
    return parts._replace(path=path, fragment="").geturl()
