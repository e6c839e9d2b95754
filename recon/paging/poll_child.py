"""The child process that reads one reply source: JSON in, JSON out. It changes nothing.

It prints no secret. It ends itself at its deadline, also where nobody waits for it.
"""

from __future__ import annotations

import json
import signal
import sys

from recon.paging.notifiers import service_named
from recon.paging.service import Reading
from recon.system.child_http import FAILURES, exchanged, in_words

MAX_ANSWER = 4 * 1024 * 1024
"""Bytes: ten updates of the longest messages, each with the message that it replies to."""


def main() -> int:
    """Send the request on standard input, and print the reading of its answer."""
    job = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, job["deadline_s"])  # unhandled: the process ends
    service = service_named(job["service"])
    read = service.read_check if job["is_check"] else service.read_replies
    try:
        reading = read(*exchanged(job["request"], MAX_ANSWER))
    except FAILURES as error:
        reading = Reading([], f"no answer: {in_words(error)}")
    json.dump(reading._asdict(), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
