"""Bot databases in Parquet files. A child process decodes them: a damaged file may crash it.

The limits are checked in the child, and once more on its output.
"""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from connectors.bot_databases.arrow_columns import Texts
from connectors.bot_databases.arrow_text import Digits
from connectors.bot_databases.files import FileTable
from connectors.bot_databases.meter import Meter
from connectors.bot_databases.snapshot import UnreadableError, too_late
from recon.system.bounded_process import OUT_OF_MEMORY, BoundedProcess, Ended, Processes

SUFFIXES = (".parquet", ".pq")
_CRASHES = {signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV}
_PROCESSES = Processes("connectors.bot_databases.parquet_child")


def parse_parquet(path: Path, content: bytes, meter: Meter) -> list[FileTable]:
    """Return the one table of a Parquet file. Raises UnreadableError."""
    meter.check_time()
    job = {
        "path": str(path),
        "source": str(meter.source),
        "size": len(content),
        "limits": asdict(meter.limits),
        "taken": meter.taken,
        "time_s": max(meter.left_s, 0.001),
    }
    try:
        with _PROCESSES.one() as process:
            said, texts = _decoded(process, job, content)
    except Ended as end:
        raise _refusal(path, end, meter) from end
    except OSError as error:
        what = f"cannot be decoded: no process can be started for it ({error.strerror})"
        raise UnreadableError(path, what, "free memory or processes, and run again") from error
    if "refused" in said:
        raise UnreadableError(*said["refused"])
    if "defect" in said:
        raise _Defect(said["defect"])
    meter.rows(path.name, said["size"])
    columns = {}
    for (name, kind, *digits), values in zip(said["columns"], texts, strict=True):
        meter.hold(values.nbytes)
        columns[name] = Texts(values, kind, Digits(*digits))
    return [FileTable(None, columns, said["size"])]


class _Defect(Exception):
    """An unexpected error in the child: the last line of its traceback, the whole as a note."""

    def __init__(self, trace: str) -> None:
        super().__init__(trace.strip().rpartition("\n")[2])
        self.add_note(trace)


def _decoded(
    process: BoundedProcess, job: dict[str, Any], content: bytes
) -> tuple[dict[str, Any], list[pa.ChunkedArray]]:
    """Return the process's answer for a file, and the text of the file's columns."""
    process.given.write(json.dumps(job).encode() + b"\n")
    process.given.write(content)
    process.given.flush()
    said = json.loads(process.said.readline())
    texts: list[pa.ChunkedArray] = []
    if "columns" in said:
        with pa.ipc.open_stream(process.said) as stream:
            table = stream.read_all()
        table.validate(full=True)
        texts = table.columns
    process.is_worn = json.loads(process.said.readline())["is_worn"]
    return said, texts


def _refusal(path: Path, end: Ended, meter: Meter) -> UnreadableError:
    """Return the error for a file that ended the process which decoded it."""
    if end.status == -signal.SIGALRM:
        return too_late(meter.source, meter.limits.seconds)
    if end.status == OUT_OF_MEMORY:
        limit = f"parquet_memory_mb = {meter.limits.parquet_memory_mb}"
        return UnreadableError(
            path,
            f"needs more memory for decoding than {limit} allows",
            "let the bot keep less there, or raise parquet_memory_mb under [recon.limits]",
        )
    if -end.status in _CRASHES:
        what = f"ended the process that decoded it ({end.how}): the file is damaged"
        return UnreadableError(path, what, "let the bot write it again, or restore it")
    what = f"was not decoded: the process that decodes it ended ({end.how})"
    return UnreadableError(path, what, "free memory on this machine, and run again")
