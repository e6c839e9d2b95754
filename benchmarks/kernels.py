"""recon's own kernels over synthetic fills, in a process of its own: times, memory, operators.

`python -m benchmarks.kernels WORK REPEATS FILE…` prints JSON; `in_own_process` asks for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.fills import BASE, EVENTS, TIED_EVENTS
from benchmarks.measure import interleaved, once, peak_bytes

BATCH_ROWS = 65_536
MEMORY_LIMIT = "600MB"
"""What DuckDB may use for itself: the rest of the promised memory is the kernel's."""


def has_compiled() -> bool:
    """Return whether the compiled kernel can run here: it needs numba, which is an extra."""
    return all(find_spec(name) for name in ("recon.lots.compiled", "numba"))


def opened(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a set of fills, to be read."""
    database = duckdb.connect(str(path), read_only=True)
    database.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
    return database


def base(database: duckdb.DuckDBPyConnection) -> object:
    """Compute what everything is compared with."""
    return database.sql(BASE).fetchall()


def ordered(database: duckdb.DuckDBPyConnection, events: str = EVENTS) -> object:
    """Join and sort the raw fills and draw them as Arrow batches, doing nothing with them."""
    return sum(batch.num_rows for batch in database.sql(events).to_arrow_reader(BATCH_ROWS))


def compiled(database: duckdb.DuckDBPyConnection) -> Any:
    """Return FIFO (a bot's own lots), average (the account's) and fees of raw fills, by session."""
    keys = _keys(database)
    return _realise(database.sql(EVENTS).to_arrow_reader(BATCH_ROWS), keys)


def _keys(database: duckdb.DuckDBPyConnection) -> int:
    [(keys,)] = database.sql("select count(*) from owners").fetchall()
    return int(keys)


def _realise(batches: Any, keys: int) -> Any:
    import numpy as np

    from recon.lots.compiled import AVERAGE, FIFO, realise_compiled

    outcome = realise_compiled(batches, np.tile(np.array([FIFO, AVERAGE], np.int8), (keys, 1)))
    if outcome.handed_over:
        raise ValueError(f"the kernel gave up on {len(outcome.handed_over)} keys")
    return outcome


def times(repeats: int, paths: list[Path]) -> dict[str, dict[str, float]]:
    """Return the median times over each file, base and all of it, in seconds."""
    files = {path.stem: opened(path) for path in paths}
    works: dict[str, Callable[[], object]] = {}
    for name, database in files.items():
        works[f"{name} base"] = partial(base, database)
        works[f"{name} whole"] = partial(compiled, database)
    taken = interleaved(works, repeats)
    return {
        name: {"base": taken[f"{name} base"], "whole": taken[f"{name} whole"]} for name in files
    }


RATES = ("whole", "kernel")
STAGES = ("base", *RATES, "ordered", "tied")


def stages(repeats: int, path: Path, wanted: Sequence[str] = STAGES) -> dict[str, float]:
    """Return the median times of those of one file's parts that are wanted, in seconds.

    All of it from raw fills (`whole`); join and sort alone (`ordered`), and with ids among the keys
    of the sort (`tied`); the kernel alone, over batches in memory (`kernel`); the base.
    """
    database = opened(path)
    keys = _keys(database)
    batches = list(database.sql(EVENTS).to_arrow_reader(BATCH_ROWS))
    works: dict[str, Callable[[], object]] = {
        "base": lambda: base(database),
        "whole": lambda: compiled(database),
        "ordered": lambda: ordered(database),
        "tied": lambda: ordered(database, TIED_EVENTS),
        "kernel": lambda: _realise(batches, keys),
    }
    return interleaved({name: works[name] for name in wanted}, repeats)


def memory(path: Path) -> dict[str, float]:
    """Return what one pass over a file takes: the whole process's peak in bytes, and seconds."""
    database = opened(path)
    empty = pa.RecordBatchReader.from_batches(
        database.sql(f"from ({EVENTS}) limit 0").to_arrow_reader(1).schema, []
    )
    _realise(empty, 1)  # compiled code is loaded, or made, before the clock runs
    elapsed_s = once(lambda: compiled(database))
    return {"seconds": elapsed_s, "peak_bytes": peak_bytes()}


def operators(path: Path) -> dict[str, list[str]]:
    """Return where DuckDB's time goes in making the events, the slowest first."""
    database = opened(path)
    [(_, text)] = database.execute(f"explain (analyze, format json) {EVENTS}").fetchall()
    found: list[tuple[float, str]] = []

    def walk(node: dict[str, Any]) -> None:
        rows = int(node.get("intermediate_rows", 0))
        found.append((float(node.get("timing", 0)), f"{node.get('type')} ({rows:,} rows)"))
        for child in node.get("children", []):
            walk(child)

    for root in json.loads(text)["operator"]:
        walk(root)
    return {"operators": [f"{time_s:.3f} s  {name}" for time_s, name in sorted(found)[:-9:-1]]}


def main(work: str, repeats: str, *files: str) -> None:
    """Do one work and print what it gave, as JSON."""
    paths = [Path(name) for name in files]
    works: dict[str, Callable[[], object]] = {
        "times": lambda: times(int(repeats), paths),
        "stages": lambda: stages(int(repeats), paths[0]),
        "rates": lambda: stages(int(repeats), paths[0], RATES),
        "memory": lambda: memory(paths[0]),
        "operators": lambda: operators(paths[0]),
    }
    json.dump(works[work](), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
