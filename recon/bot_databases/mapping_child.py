"""The child process that runs mappings, one after the other: jobs in, answers out.

A job on standard input is a line of JSON, then an Arrow stream for each table of the snapshot. Each
line of JSON on standard output reports the progress of the job. An Arrow stream of rows follows
each line that announces an answer.

A mapping is third-party SQL, and DuckDB's own limits do not hold: some functions allocate memory
that `memory_limit` does not count, and some cannot be interrupted. So the kernel limits the memory
and the time of each job: see `recon/system/bounded_child.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import duckdb
import pyarrow as pa

from recon.bot_databases.mapping_queries import ANSWERS, SEALED, Room, Snapshot, answers, loadable
from recon.core.sql_names import quoted
from recon.errors import BotDatabaseError
from recon.system.bounded_child import BoundedChild
from recon.system.bounded_process import OUT_OF_MEMORY

_WARM_UP_MB = 128
_SHOWN = 500


def main() -> NoReturn:
    """Run the jobs on standard input until it ends."""
    child = BoundedChild()
    parser = duckdb.connect(":memory:", config=SEALED)
    parser.execute("set enable_external_access = false")
    _warm_up(parser)
    child.warmed_up()
    with suppress(BrokenPipeError):
        while line := child.jobs.readline():
            _serve(child, parser, json.loads(line))
    os._exit(0)


def _warm_up(parser: duckdb.DuckDBPyConnection) -> None:
    """Run a mapping of no rows: memory that libraries reserve once must not count as a job's."""
    columns = ", ".join(f"null as {quoted(name)}" for name in ANSWERS["trades"].names)
    query = {"trades": (Path("trades.sql"), f"select {columns} limit 0")}
    for one in answers(parser, query, Snapshot({}, {}, ()), Room(_WARM_UP_MB, "")):
        for _ in one.rows:
            pass


def _serve(child: BoundedChild, parser: duckdb.DuckDBPyConnection, job: Any) -> None:
    """Run one job and write its answers."""
    child.begin(job["memory_mb"], job["time_s"])
    tables = _tables(child.jobs, len(loadable(job["schema"])))
    queries = {name: (Path(path), text) for name, (path, text) in job["queries"].items()}
    snapshot = Snapshot(job["schema"], job["optional"], tables)
    last: dict[str, Any] = {}
    try:
        for one in answers(parser, queries, snapshot, Room(job["memory_mb"], job["spill"])):
            child.say({"answer": one.query, "problems": one.problems})
            _send(child.said, one.rows)
    except BotDatabaseError as error:
        last = {"error": str(error)}
    except BrokenPipeError:
        shutil.rmtree(job["spill"], ignore_errors=True)  # the parent may be gone
        raise
    except Exception as error:  # noqa: BLE001 - any error ends this mapping alone
        path, _ = next(iter(queries.values()))
        last = {"error": f"{path} cannot be run: {type(error).__name__}: {error}"[:_SHOWN]}
    for rows in tables:
        for _ in rows:
            pass
    child.finish(last)


def _tables(jobs: IO[bytes], count: int) -> Iterator[pa.RecordBatchReader]:
    """Yield the rows of each table. Rows that the caller leaves unread are skipped."""
    for _ in range(count):
        stream = pa.ipc.open_stream(jobs)
        batches = iter(stream)
        yield pa.RecordBatchReader.from_batches(stream.schema, batches)
        for _rest in batches:
            pass


def _send(said: IO[bytes], rows: pa.RecordBatchReader) -> None:
    """Write the rows of one answer. The stream cannot carry an error: the process ends on one."""
    try:
        with pa.ipc.new_stream(said, rows.schema) as stream:
            for batch in rows:
                stream.write_batch(batch)
    except BrokenPipeError:
        raise
    except Exception:  # noqa: BLE001 - memory, or the disk that it spills to
        os._exit(OUT_OF_MEMORY)
    said.flush()


if __name__ == "__main__":
    sys.exit(main())
