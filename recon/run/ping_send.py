"""The child process that sends one ping, or only connects: JSON in, exit status out, why in words.

Nothing it prints has the address in it. It ends itself at its deadline, also when nobody waits for
it any more.
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
"""For one attempt, so that three of them and their pauses fit into ten seconds."""

PAUSES_S = (0.0, 0.3, 1.0)
"""Before each attempt: the first, and two more."""

UNKNOWN_CHECK = b"(not found)"
"""Healthchecks may answer 200 where it knows no such check, and say so in the answer alone."""


def main() -> int:
    """Send the ping that standard input describes. Return 0 where it was taken, or say why not."""
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
    """Return why a ping was not taken (nothing: it was), and whether to leave it at that."""
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
    """Return why the address's host takes no connection, and whether to leave it at that."""
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
