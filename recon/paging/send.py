"""The child process that sends one message through one channel: JSON in, exit status out.

Requests of our own go out over the standard library, without redirects, each held to its receipt.
Everything else goes through apprise, and counts only where something was connected to at all.
Nothing it prints has a secret in it. It ends itself at its deadline, also when nobody waits for it.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from typing import Any

from recon.paging.notifiers import answered
from recon.system.child_http import FAILURES, exchanged, in_words

MAX_ANSWER = 65_536
"""Bytes of an answer that are read: receipts are short."""


def main() -> int:
    """Send what standard input says. Return 0 where the channel took it, and say why not."""
    logging.disable(logging.CRITICAL)  # apprise's warnings can show a key
    job = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, job["deadline_s"])  # unhandled: the process ends
    if job.get("requests"):
        problems = [_post(request) for request in job["requests"]]
    else:
        problems = [_through_apprise(job)]
    problem = "; ".join(sorted({each for each in problems if each}))
    sys.stdout.write(problem)
    return 1 if problem else 0


def _post(request: dict[str, Any]) -> str:
    """Send one request; return why it was not taken, or nothing."""
    try:
        return answered(request, *exchanged(request, MAX_ANSWER))
    except FAILURES as error:
        return f"no answer: {in_words(error)}"


def _through_apprise(job: dict[str, Any]) -> str:
    import apprise

    connected: list[str] = []

    def listen(event: str, _arguments: object) -> None:
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg", "syslog.syslog"}:
            connected.append(event)

    plugin: Any = apprise.Apprise.instantiate(job["url"], suppress_exceptions=True)
    if plugin is None:
        return "apprise knows no such channel"
    plugin.redirects = False
    plugin.overflow_mode = apprise.OverflowMode.TRUNCATE
    kind = apprise.NotifyType.WARNING if job["resolves"] else apprise.NotifyType.FAILURE
    channel = apprise.Apprise()
    channel.add(plugin)
    sys.addaudithook(listen)
    is_taken = channel.notify(
        title=job["title"], body=job["body"], notify_type=kind, body_format="text"
    )
    if not is_taken:
        return "the channel did not take it"
    return "" if connected else "nothing was sent: the channel was never connected to"


if __name__ == "__main__":
    sys.exit(main())
