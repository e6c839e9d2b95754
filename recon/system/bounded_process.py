"""Child processes for work on what others wrote, seen from the process that starts them.

A library that decodes somebody's bytes, or runs somebody's query, may crash, take any amount of
memory, or never end. In a child process it ends the child alone. The kernel limits the memory and
the time of each job: see `recon/system/bounded_child.py`.

A child has almost nothing of its parent's environment, and gets its jobs on standard input. Its
start is expensive, so one child serves many jobs, one after the other.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa

from recon.system.interruption import interrupt_too

OUT_OF_MEMORY = 12
"""The exit status of a child that could not have the memory that it needed."""

_GRACE_S = 5.0
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH")
"""What a child gets of the environment: where the interpreter finds its libraries."""

_VARIABLES = {
    "LC_ALL": "C.UTF-8",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve a gigabyte at once
}


class Ended(Exception):
    """A child ended in the middle of a job. A status below 0 is the number of a signal."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status

    @property
    def how(self) -> str:
        """How it ended, in a word or two: `SIGABRT`, `status 1`."""
        if self.status >= 0:
            return f"status {self.status}"
        with suppress(ValueError):
            return signal.Signals(-self.status).name
        return f"signal {-self.status}"


class BoundedProcess:
    """A child that runs a module of ours. Take one from `Processes`.

    Jobs go into `given`, answers come out of `said`. Whoever learns from an answer that the child
    should have no other job says so in `is_worn`.
    """

    def __init__(self, module: str) -> None:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path if folder)  # noqa: PTH100
        self._process = subprocess.Popen(  # noqa: S603 - the name of a module of ours
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, **_VARIABLES, "PYTHONPATH": path},
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("the process was given pipes")
        self.given, self.said = self._process.stdin, self._process.stdout
        self.pid = self._process.pid
        self.is_worn = False
        self._parent = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Return whether this process has started it, and not one that this is a fork of."""
        return self._parent == os.getpid()

    @property
    def is_ready(self) -> bool:
        """Return whether it can be given a job: it is alive, fit, and ours."""
        return not self.is_worn and self.is_ours and self._process.poll() is None

    def interrupt(self) -> None:
        """Kill it. Whoever waits for its answer gets Ended."""
        if self.is_ours:
            self._process.kill()

    def end(self, wait_s: float = 0.0) -> int:
        """End it, wait for it so long before it is killed, and return its exit status."""
        self.is_worn = True
        for pipe in (self.given, self.said):
            with suppress(OSError):
                pipe.close()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(wait_s)
        self._process.kill()
        return self._process.wait()


class Processes:
    """The children that run one module: one for each caller at a time, and one kept for the next.

    The kept one ends with this process.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._idle: list[BoundedProcess] = []
        self._lock = threading.Lock()
        atexit.register(self.end_idle)

    @contextmanager
    def one(self) -> Iterator[BoundedProcess]:
        """Give a child for one job; its pipes are used in the block alone.

        Raises Ended where the child ended in the block, and OSError where there is no room for a
        process. After any other error its answer may be half read: the child ends.
        """
        process = self._taken()
        try:
            yield process
        except (OSError, ValueError, pa.ArrowException) as error:
            raise Ended(process.end(_GRACE_S)) from error
        except BaseException:
            process.end()
            raise
        self._keep(process)

    def end_idle(self) -> None:
        """End the child that is kept, where it is ours: a fork of its parent leaves it alone."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            if process.is_ours:
                process.end(_GRACE_S)

    def _taken(self) -> BoundedProcess:
        with self._lock:
            if self._idle and self._idle[0].is_ready:
                return self._idle.pop()
        self.end_idle()
        process = BoundedProcess(self._module)
        interrupt_too(process)
        return process

    def _keep(self, process: BoundedProcess) -> None:
        with self._lock:
            is_kept = process.is_ready and not self._idle
            if is_kept:
                self._idle.append(process)
        if not is_kept:
            process.end(_GRACE_S)
