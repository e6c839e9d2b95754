"""The child process that sends one ping, or only connects.

It reads a JSON job on stdin, prints the reason of a failure, and exits 0 or 1. The address is in
nothing that it prints. It ends itself at its deadline, even if its parent has gone.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from http.client import HTTPConnection, HTTPSConnection
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, Request

from recon.errors import closing
from recon.system.child_http import FAILURES, in_words, opener

ATTEMPT_S = 2.5
"""The time for one attempt: three attempts and their pauses fit into ten seconds."""

PAUSES_S = (0.0, 0.3, 1.0)
"""The pause before each of the three attempts."""

UNKNOWN_CHECK = b"(not found)"
"""Healthchecks may answer 200 with this text for an unknown check."""


def main() -> int:
    """Send the ping that stdin describes. Return 0 if it was accepted, else print why not."""
    job = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, job["deadline_s"])  # unhandled: the process ends
    opens = opener()
    problem = ""
    for pause_s in PAUSES_S:
        time.sleep(pause_s)
        problem, is_final = (
            _connect(job["url"])
            if job["body"] is None
            else _attempt(opens, job["url"], job["body"].encode())
        )
        if is_final:
            break
    sys.stdout.write(problem)
    return 1 if problem else 0


def _attempt(opens: OpenerDirector, url: str, body: bytes) -> tuple[str, bool]:
    """Return why a ping was not accepted (empty if it was), and whether that is final."""
    asked = Request(url, body, {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "recon"})
    try:
        with opens.open(asked, timeout=ATTEMPT_S) as answer:
            if UNKNOWN_CHECK in answer.read1(len(b"OK (not found)")):
                return "there is no such check at that address", True
            return "", True
    except HTTPError as error:
        is_final = error.code < 500 and error.code not in {408, 429}
        return f"HTTP status {error.code}", is_final
    except FAILURES as error:
        return in_words(error), False


def _connect(url: str) -> tuple[str, bool]:
    """Return why the host takes no connection (empty if it does), and whether that is final."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    with closing(kind(parts.hostname or "", parts.port, timeout=ATTEMPT_S)) as connection:
        try:
            connection.connect()
        except FAILURES as error:
            return in_words(error), False
    return "", True


if __name__ == "__main__":
    sys.exit(main())
