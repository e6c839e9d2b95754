"""Channels: apprise URLs, checked before anything else and sent through in a child process.

apprise swallows errors, and a server that drips keeps its process alive: so each page leaves
through `python -m recon.paging.send`, which is killed at its deadline. URLs are secrets: they go
to the child on its standard input, and are shown masked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from recon.errors import ConfigError

DEADLINE_S = 30.0


def masked(url: str) -> str:
    """Return the URL with its secrets hidden, or raise ConfigError where apprise knows no such."""
    import apprise  # noqa: PLC0415 - eleven times a bare start of Python

    plugin = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if plugin is None:
        scheme = url.partition("://")[0] if "://" in url else "(no scheme)"
        raise ConfigError(
            f"paging.channels: apprise knows no channel like {scheme}://…: "
            "see the URL's form in apprise's list of services"
        )
    shown: Any = plugin
    return str(shown.url(privacy=True))


def check_channels(urls: Sequence[str]) -> list[str]:
    """Return every channel's masked name. Raises ConfigError for one that cannot be used."""
    return [masked(url) for url in urls]


def send(
    urls: Sequence[str], title: str, body: str, *, deadline_s: float = DEADLINE_S
) -> list[dict[str, Any]]:
    """Send one page through every channel at once; return what became of each, in their order.

    A channel that has not answered by the deadline, one for all of them, counts as failed.
    """
    names = check_channels(urls)
    children = [_start(url, title, body) for url in urls]
    deadline = time.monotonic() + deadline_s
    return [
        {"channel": name, **_finish(child, max(0.0, deadline - time.monotonic()), deadline_s)}
        for name, child in zip(names, children, strict=True)
    ]


def _start(url: str, title: str, body: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "recon.paging.send"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # The child imports what this process imports, wherever either was started.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if child.stdin is None:
        raise AssertionError("the child was given a pipe")
    try:
        child.stdin.write(json.dumps({"url": url, "title": title, "body": body}))
        child.stdin.close()
    except BrokenPipeError:
        pass  # it died at once: its exit status says so below
    child.stdin = None
    return child


def _finish(child: subprocess.Popen[str], left_s: float, deadline_s: float) -> dict[str, Any]:
    try:
        output, _ = child.communicate(timeout=left_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return {"status": "failed", "reason": f"no answer within {deadline_s:g} s"}
    if child.returncode == 0:
        return {"status": "delivered"}
    return {"status": "failed", "reason": output.strip() or f"exit status {child.returncode}"}
