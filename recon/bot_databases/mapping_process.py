"""The process that runs mappings, seen from the night: it is started, given jobs, and replaced.

One process serves all mappings of a night, because its start costs as much as twenty small
mappings. After a mapping that ended it, or that left it with much memory, the next mapping gets a
new process.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, NamedTuple

import pyarrow as pa

from recon.errors import BotDatabaseError

OUT_OF_MEMORY = 12
"""The exit status where memory ran out while an answer was being written."""

_GRACE_S = 5.0
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH")
"""What the process gets of the environment: where the interpreter finds its libraries."""

_VARIABLES = {
    "LC_ALL": "C.UTF-8",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve a gigabyte at once
}


class Rows(NamedTuple):
    """The answer of one query, and pairs of a key and a reason for the rows that cannot stand."""

    rows: pa.Table
    problems: list[tuple[str | None, str]]


class Ended(Exception):
    """The process ended in the middle of a job: while it ran which query, and with what status.

    A status below 0 is the number of a signal, as in subprocess.
    """

    def __init__(self, query: str, status: int) -> None:
        super().__init__(query, status)
        self.query = query
        self.status = status


class MappingProcess:
    """A process that runs mappings. Start one through `run_mapping`."""

    def __init__(self) -> None:
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path if folder)  # noqa: PTH100
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "recon.bot_databases.mapping_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, **_VARIABLES, "PYTHONPATH": path},
        )
        self.owner = os.getpid()
        self.is_worn = False

    @property
    def is_ready(self) -> bool:
        """Return whether it can be given a mapping: it is alive, fit, and a child of ours."""
        return not self.is_worn and self.owner == os.getpid() and self._process.poll() is None

    def run(self, job: Mapping[str, Any], tables: Sequence[pa.Table]) -> dict[str, Rows]:
        """Run one mapping. Raises BotDatabaseError, and Ended where the process ended first."""
        given, said = self._process.stdin, self._process.stdout
        if given is None or said is None:
            raise AssertionError("the process was given pipes")
        found: dict[str, Rows] = {}
        try:
            _give(given, job, tables)
            while "error" not in (line := json.loads(said.readline())) and "done" not in line:
                with pa.ipc.open_stream(said) as stream:
                    rows = stream.read_all()
                found[line["answer"]] = Rows(rows, [(key, why) for key, why in line["problems"]])
        except (OSError, ValueError, pa.ArrowException) as error:
            self.end(_GRACE_S)
            at = next((query for query in job["queries"] if query not in found), "trades")
            raise Ended(at, self._process.returncode) from error
        except BaseException:
            self.end()
            raise
        self.is_worn = line["is_worn"]
        if "error" in line:
            raise BotDatabaseError(line["error"])
        return found

    def end(self, wait_s: float = 0.0) -> None:
        """End it, and wait for it so long before it is killed."""
        self.is_worn = True
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(wait_s)
            return
        self._process.kill()
        self._process.wait()


def _give(given: IO[bytes], job: Mapping[str, Any], tables: Sequence[pa.Table]) -> None:
    given.write(json.dumps(job).encode() + b"\n")
    for table in tables:
        with pa.ipc.new_stream(given, table.schema) as stream:
            stream.write_table(table, max_chunksize=_ROWS)
    given.flush()


_ROWS = 50_000
_lock = threading.Lock()
_running: list[MappingProcess] = []


def run_mapping(job: Mapping[str, Any], tables: Sequence[pa.Table]) -> dict[str, Rows]:
    """Run one mapping in the process that there is, or in a new one.

    Raises BotDatabaseError for a mapping that is refused, Ended where it ended the process, and
    OSError where there is no room for a process.
    """
    with _lock:
        if _running and not _running[0].is_ready:
            _stop()
        if not _running:
            _running.append(MappingProcess())
        return _running[0].run(job, tables)


def _stop() -> None:
    """End the process that runs, where it is ours: a fork of its parent leaves it alone."""
    while _running:
        process = _running.pop()
        if process.owner == os.getpid():
            process.end(_GRACE_S)


def ending(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"status {status}"
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


atexit.register(_stop)
