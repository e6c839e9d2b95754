"""Child processes: pages, pings and questions leave through one, which is killed at its deadline.

A server that drips without end keeps whoever asked it alive. A child can be killed; it also ends
itself, where nobody is left to kill it. Its job goes in on standard input and never as an
argument, which anybody on the machine could read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from recon.outside_text import redact_data

withheld: set[str] = set()
"""The variables of the environment that hold secrets of the configuration."""


def withhold(names: Iterable[str]) -> None:
    """Keep these variables from the environment of child processes from now on."""
    withheld.update(names)


_running: WeakSet[subprocess.Popen[str]] = WeakSet()


def end_all() -> None:
    """Kill every child of this process that is still running."""
    for process in list(_running):
        if process.poll() is None:
            process.kill()


class Child:
    """A module of ours that runs as a process of its own, with one job as JSON.

    Of the secrets it gets those of its job: no variable that is `withheld` is in its environment.
    Raises OSError where there is no room for a process.
    """

    def __init__(self, module: str, job: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - the name of a module of ours
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # The child imports what this process imports, wherever either was started.
            env={
                **{name: value for name, value in os.environ.items() if name not in withheld},
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            # A Ctrl-C at the terminal is for this process, which ends its children itself.
            process_group=0,
        )
        _running.add(self._process)
        if self._process.stdin is None:
            raise AssertionError("the child was given a pipe")
        with suppress(OSError):  # it died at once: its exit status says so
            self._process.stdin.write(json.dumps(job))
            self._process.stdin.close()
        self._process.stdin = None

    @property
    def is_done(self) -> bool:
        """Return whether it has ended, without waiting."""
        return self._process.poll() is not None

    def end(self, wait_s: float = 0.0) -> tuple[int | None, str]:
        """Wait so long at most, then kill it; return its exit status and what it printed.

        The status is None where it had to be killed.
        """
        try:
            said, _ = self._process.communicate(timeout=None if self.is_done else max(0.0, wait_s))
        except subprocess.TimeoutExpired:
            self._process.kill()
            said, _ = self._process.communicate()
            return None, redact_data(said)
        return self._process.returncode, redact_data(said)
