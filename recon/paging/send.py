"""The child process that sends one message through one channel: JSON in, exit status out.

It prints no secret. It ends itself at its deadline, also where nobody waits for it.
"""

from __future__ import annotations

import json
import logging
import signal
import sys

from recon.paging.notifiers import service_named


def main() -> int:
    """Do the job on standard input. Return 0 for a receipt; otherwise print why there is none."""
    logging.disable(logging.CRITICAL)  # apprise's warnings can show a key
    job = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, job["deadline_s"])  # unhandled: the process ends
    problem = service_named(job["service"]).send(job)
    sys.stdout.write(problem)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
