"""The parent's side of the process that runs mappings: it sends jobs, one after the other.

One process serves all mappings of a run, because its start costs as much as twenty small mappings.
If a mapping ends the process or leaves it with much memory, the next mapping gets a new process.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple

import pyarrow as pa

from recon.errors import BotDatabaseError
from recon.system.bounded_process import Ended, Processes

_ROWS = 50_000
_lock = threading.Lock()
processes = Processes("recon.bot_databases.mapping_child")
"""The process that runs mappings."""


class Rows(NamedTuple):
    """The answer of one query, and pairs of key and reason for its invalid rows."""

    rows: pa.Table
    problems: list[tuple[str | None, str]]


class EndedBy(Exception):
    """The process ended during a job, while it ran this query."""

    def __init__(self, query: str, end: Ended) -> None:
        super().__init__(query, end)
        self.query = query
        self.end = end


def run_mapping(job: Mapping[str, Any], tables: Sequence[pa.Table]) -> dict[str, Rows]:
    """Return the answers of one mapping, run in the current process or in a new one.

    Raises BotDatabaseError for a mapping that is refused, EndedBy for one that ended the process,
    and OSError where no process can be started.
    """
    found: dict[str, Rows] = {}
    try:
        with _lock, processes.one() as process:
            _give(process.given, job, tables)
            while "is_worn" not in (line := json.loads(process.said.readline())):
                with pa.ipc.open_stream(process.said) as stream:
                    rows = stream.read_all()
                found[line["answer"]] = Rows(rows, [(key, why) for key, why in line["problems"]])
            process.is_worn = line["is_worn"]
    except Ended as end:
        at = next((query for query in job["queries"] if query not in found), "trades")
        raise EndedBy(at, end) from end
    if "error" in line:
        raise BotDatabaseError(line["error"])
    return found


def _give(given: IO[bytes], job: Mapping[str, Any], tables: Sequence[pa.Table]) -> None:
    given.write(json.dumps(job).encode() + b"\n")
    for table in tables:
        with pa.ipc.new_stream(given, table.schema) as stream:
            stream.write_table(table, max_chunksize=_ROWS)
    given.flush()
