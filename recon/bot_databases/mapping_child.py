"""The child process that runs mappings, one after the other: jobs in, answers out.

A job on standard input is a line of JSON, then an Arrow stream for each table of the snapshot. Each
line of JSON on standard output says how far the job is; an Arrow stream of rows follows each line
that announces an answer.

A mapping is somebody else's SQL, and DuckDB's own limits do not hold: some of its functions
allocate what `memory_limit` does not count, and some cannot be interrupted. So the kernel limits
the memory of this process, and its timer ends it. It starts without the environment of its parent
and in the root folder, and prints nothing but answers.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import duckdb
import pyarrow as pa

from recon.bot_databases.mapping_process import OUT_OF_MEMORY
from recon.bot_databases.mapping_queries import ANSWERS, SEALED, Room, Snapshot, answers, loadable
from recon.core.sql_names import quoted
from recon.errors import BotDatabaseError

_MB = 1024 * 1024
_WORN_MB = 64
"""A process that keeps so much more memory than at its start makes room for a new one."""
_OPEN_FILES = 64
_WARM_UP_MB = 128
_SHOWN = 500


def main() -> NoReturn:
    """Run the jobs of standard input until it ends."""
    jobs, said = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - a device
        for standard in (0, 1, 2):
            os.dup2(nothing.fileno(), standard)
    os.chdir("/")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent decides
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    parser = duckdb.connect(":memory:", config=SEALED)
    parser.execute("set enable_external_access = false")
    _warm_up(parser)
    start = _written()
    with suppress(BrokenPipeError):
        while line := jobs.readline():
            _serve(parser, json.loads(line), jobs, said, start)
    os._exit(0)


def _warm_up(parser: duckdb.DuckDBPyConnection) -> None:
    """Run a mapping of no rows, so that what the libraries reserve once is no mapping's memory."""
    columns = ", ".join(f"null as {quoted(name)}" for name in ANSWERS["trades"].names)
    query = {"trades": (Path("trades.sql"), f"select {columns} limit 0")}
    for one in answers(parser, query, Snapshot({}, {}, ()), Room(_WARM_UP_MB, "")):
        for _ in one.rows:
            pass


def _serve(
    parser: duckdb.DuckDBPyConnection, job: Any, jobs: IO[bytes], said: IO[bytes], start: int
) -> None:
    """Do one job, and say at the end whether this process may have another."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (start + job["memory_mb"] * _MB, hard))
    signal.setitimer(signal.ITIMER_REAL, job["time_s"])  # unhandled: the process ends
    tables = _tables(jobs, len(loadable(job["schema"])))
    queries = {name: (Path(path), text) for name, (path, text) in job["queries"].items()}
    snapshot = Snapshot(job["schema"], job["optional"], tables)
    last: dict[str, Any] = {"done": True}
    try:
        for one in answers(parser, queries, snapshot, Room(job["memory_mb"], job["spill"])):
            _say(said, {"answer": one.query, "problems": one.problems})
            _send(said, one.rows)
    except BotDatabaseError as error:
        last = {"error": str(error)}
    except BrokenPipeError:
        shutil.rmtree(job["spill"], ignore_errors=True)  # nobody is left to do it
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this mapping alone
        path, _ = next(iter(queries.values()))
        last = {"error": f"{path} cannot be run: {type(error).__name__}: {error}"[:_SHOWN]}
    for rows in tables:
        for _ in rows:
            pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    _say(said, last | {"is_worn": _written() > start + _WORN_MB * _MB})


def _tables(jobs: IO[bytes], count: int) -> Iterator[pa.RecordBatchReader]:
    """Give the rows of each table. Whatever its reader leaves of one is passed over."""
    for _ in range(count):
        stream = pa.ipc.open_stream(jobs)
        batches = iter(stream)
        yield pa.RecordBatchReader.from_batches(stream.schema, batches)
        for _rest in batches:
            pass


def _send(said: IO[bytes], rows: pa.RecordBatchReader) -> None:
    """Write the rows of one answer. An error within them cannot be said there: the process ends."""
    try:
        with pa.ipc.new_stream(said, rows.schema) as stream:
            for batch in rows:
                stream.write_batch(batch)
    except BrokenPipeError:
        raise
    except Exception:  # noqa: BLE001 - memory, or the disk that it spills to
        os._exit(OUT_OF_MEMORY)
    said.flush()


def _say(said: IO[bytes], line: dict[str, Any]) -> None:
    said.write(json.dumps(line).encode() + b"\n")
    said.flush()


def _written() -> int:
    """Return how many bytes of memory this process may write to: what RLIMIT_DATA counts."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
