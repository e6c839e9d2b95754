"""The child process that asks one question: JSON in, JSON out. It reads, and changes nothing.

Nothing it prints has a secret in it. It ends itself at its deadline, also when nobody waits for it.
"""

from __future__ import annotations

import json
import signal
import sys

from recon.paging.reply_parsers import READERS, no_answer
from recon.system.child_http import FAILURES, exchanged, in_words

MAX_ANSWER = 4 * 1024 * 1024
"""Bytes: ten updates of the longest messages, each with the message that it answers to."""


def main() -> int:
    """Ask what standard input says, and print what is read out of the answer."""
    job = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, job["deadline_s"])  # unhandled: the process ends
    try:
        said = READERS[job["reader"]](*exchanged(job["request"], MAX_ANSWER))
    except FAILURES as error:
        said = no_answer(f"no answer: {in_words(error)}")
    json.dump(said, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
