"""The child process that decodes Parquet files, one after the other: files in, columns out.

A job on standard input is a line of JSON, then the bytes of the file. The answer is a line of JSON
with either the refusal of the file or the names and types of its columns. The values of the columns
follow as an Arrow stream of text. A last line of JSON ends the job.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from connectors.bot_databases.files import FileTable
from connectors.bot_databases.meter import Meter, Taken
from connectors.bot_databases.parquet_columns import parquet_table
from connectors.bot_databases.snapshot import UnreadableError
from recon.core.limits import Limits
from recon.system.bounded_child import BoundedChild
from recon.system.bounded_process import OUT_OF_MEMORY


def main() -> NoReturn:
    """Run the jobs on standard input until it ends."""
    child = BoundedChild()
    child.warmed_up()
    with suppress(BrokenPipeError):
        while line := child.jobs.readline():
            _serve(child, json.loads(line))
    os._exit(0)


def _serve(child: BoundedChild, job: Any) -> None:
    """Run one job and write its answer."""
    limits = Limits(**job["limits"])
    child.begin(limits.parquet_memory_mb, job["time_s"])
    try:
        _answer(child, job, Meter(job["source"], limits, Taken(*job["taken"])))
    except (MemoryError, SystemError):  # SystemError: C code could not even allocate an error
        os._exit(OUT_OF_MEMORY)
    child.finish({})


def _answer(child: BoundedChild, job: Any, meter: Meter) -> None:
    content = child.jobs.read(job["size"])
    try:
        table = parquet_table(Path(job["path"]), content, meter)
    except UnreadableError as error:
        child.say({"refused": error.parts})
    except (BrokenPipeError, MemoryError, SystemError):
        raise
    except Exception:  # noqa: BLE001 - no error of one file ends this process
        child.say({"defect": traceback.format_exc()})
    else:
        _send(child, table)


def _send(child: BoundedChild, table: FileTable) -> None:
    columns = [
        (name, one.type, one.digits.whole, one.digits.places) for name, one in table.columns.items()
    ]
    child.say({"columns": columns, "size": table.size})
    values = [one.values for one in table.columns.values()]
    texts = pa.Table.from_arrays(values, names=[str(place) for place in range(len(values))])
    with pa.ipc.new_stream(child.said, texts.schema) as stream:
        stream.write_table(texts)


if __name__ == "__main__":
    sys.exit(main())
