"""Ping a dead-man's switch when a nightly run begins and when it ends.

The switch is a service on another machine that raises the alarm if no ping arrives. So it notices
a machine that is off, too. Its address is a secret. `run/ping_send.py` sends each ping, in a child
process that ends at its deadline. A ping that fails is reported on stderr and changes nothing else.
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
"""The time for one ping, with all its attempts."""

LAST_WAIT_S = 2.5
"""The wait for the first ping when a run ends. The last ping has the rest of the time."""

Note = Callable[[str], None]


class Run:
    """The last ping of a run that ended without an error: its name and its text."""

    ending = ("fail", "nothing was published")

    def published(
        self, documents: Sequence[Mapping[str, Any]], status: int, problem: str = ""
    ) -> None:
        """Set the last ping: its documents, the exit status and a remaining problem."""
        problem = next(filter(None, [problem, *map(unfinished, documents)]), "")
        text = problem or f"{documents[-1]['status']} as of {documents[-1]['as_of']}"
        self.ending = (
            "fail" if problem else "success",
            f"exit status {status}: {text}"[:LONGEST_SUMMARY],
        )


def unfinished(document: Mapping[str, Any]) -> str:
    """Return why a published run is not finished, or an empty text if it is.

    A success is pinged only if this is empty.
    """
    waiting = [page["page"] for page in document["pages"] if page["status"] != "delivered"]
    return f"not delivered to every channel: {', '.join(waiting)}" if waiting else ""


def address(config_path: Path) -> str | None:
    """Return the switch's address, even if the rest of the configuration is wrong.

    Return None if there is no usable address. `config.load` reports what is wrong.
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
    """Return why the switch's host takes no connection, or an empty text if it takes one.

    The connection uses TLS for https. No request is sent, since any may count as a ping. So only a
    run shows whether the switch knows the check.
    """
    return _ended(_send(url, "success", None, deadline_s), wait_s=deadline_s)


@contextmanager
def pinged(url: str | None, note: Note, deadline_s: float = DEADLINE_S) -> Iterator[Run]:
    """Ping `url` when the block begins and when it ends, with the result or the error.

    The block does not wait for the first ping. At the end both pings take `deadline_s` at most. An
    error of the block is raised unchanged. Without a `url` no ping is sent.
    """
    run = Run()
    if url is None:
        yield run
        return
    begun = _send(url, "start", "", deadline_s)
    try:
        yield run
        _ping_end(url, begun, run.ending, note, deadline_s)
    except BaseException as error:
        ending = ("fail", summary(error))
        clean_up(lambda: _ping_end(url, begun, ending, note, deadline_s), after=error)
        raise


def _ping_end(
    url: str, begun: Child | None, ending: tuple[str, str], note: Note, deadline_s: float
) -> None:
    """End the first ping, then send the last one, so that they arrive in this order."""
    until = time.monotonic() + deadline_s
    problems = {"start": _ended(begun, wait_s=min(LAST_WAIT_S, deadline_s / 2))}
    left_s = until - time.monotonic()
    problems[ending[0]] = _ended(_send(url, *ending, left_s), wait_s=left_s)
    for name, problem in problems.items():
        if problem:
            note(f"PING NOT SENT: {name}: {problem}")


def _send(url: str, name: str, body: str | None, deadline_s: float) -> Child | None:
    """Start the process that sends one ping, or only connects if `body` is None.

    Return None if no process can be started.
    """
    job = {"url": _at(url, name), "body": body, "deadline_s": deadline_s}
    try:
        return Child("recon.run.ping_send", job)
    except OSError:
        return None


def _ended(child: Child | None, *, wait_s: float) -> str:
    """End a ping's process; return why the ping was not accepted, or an empty text."""
    if child is None:
        return "no process could be started"
    status, problem = child.end(wait_s)
    return "" if status == 0 else problem or "no answer in time"


def _at(url: str, name: str) -> str:
    """Return the URL of a ping: the address for a success, `/name` below it for the others."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/") + ("" if name == "success" else f"/{name}")
    return parts._replace(path=path, fragment="").geturl()
