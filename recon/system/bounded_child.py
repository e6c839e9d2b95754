"""A child process for work on what others wrote, seen from inside: its pipes and its limits.

It works in the root folder, prints nothing but answers, and leaves no core file. For each job the
kernel limits its memory and its time. See `recon/system/bounded_process.py`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

_MB = 1024 * 1024
_WORN_MB = 64
"""A process that keeps so much more memory than at its start makes room for a new one."""
_OPEN_FILES = 64


class BoundedChild:
    """This process as a child: jobs come from `jobs`, answers go to `said`.

    Make it first, and once.
    """

    def __init__(self) -> None:
        self.jobs, self.said = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
        with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - a device
            for standard in (0, 1, 2):
                os.dup2(nothing.fileno(), standard)
        os.chdir("/")
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent decides
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
        self._start = 0

    def warmed_up(self) -> None:
        """Take the memory that is in use now for that of the process itself, and of no job."""
        self._start = _written()

    def begin(self, memory_mb: int, time_s: float) -> None:
        """Limit a job: so much memory more than at the start, and so many seconds.

        Where the memory is exhausted, allocations fail. Where the time is over, SIGALRM ends the
        process.
        """
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (self._start + memory_mb * _MB, hard))
        signal.setitimer(signal.ITIMER_REAL, time_s)  # unhandled: the process ends

    def finish(self, line: dict[str, Any]) -> None:
        """End the job with a line, which also says whether this process should have no other."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.say(line | {"is_worn": _written() > self._start + _WORN_MB * _MB})

    def say(self, line: dict[str, Any]) -> None:
        """Answer with a line of JSON."""
        self.said.write(json.dumps(line).encode() + b"\n")
        self.said.flush()


def _written() -> int:
    """Return how many bytes of memory this process may write to: what RLIMIT_DATA counts."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
