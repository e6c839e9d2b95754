"""`python -m benchmarks [--quick] [--only NAME …]`: measure, print one table, write the results."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import comparison, lots, matching, nights, pages, plot, startup, table, vaults
from benchmarks.promises import Line, Run

SUBJECTS: dict[str, Callable[[Run], list[Line]]] = {
    "lots": lots.measure,
    "peers": comparison.measure,
    "nights": nights.measure,
    "matching": matching.measure,
    "startup": startup.measure,
    "vaults": vaults.measure,
    "pages": pages.measure,
}
RESULTS = Path(__file__).resolve().parent / "results"


def main(arguments: list[str] | None = None) -> None:
    """Measure what is asked for. A whole run is written down, a part of one is only shown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer fills, less than two minutes")
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    asked = parser.parse_args(arguments)
    started, load = time.monotonic(), os.getloadavg()[0]

    def note(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:5.0f} s  {line}\n")
        sys.stderr.flush()

    with tempfile.TemporaryDirectory(prefix="recon-bench-") as folder:
        run = Run(asked.quick, Path(folder), note)
        measured = [line for name in asked.only for line in SUBJECTS[name](run)]
        lines = [line.explained() for line in sorted(measured, key=_order)]
    table.print_table(lines)
    took_s = time.monotonic() - started
    if not asked.quick and set(asked.only) == set(SUBJECTS):
        path = table.write(lines, RESULTS, took_s, load)
        plot.write(lines, RESULTS / "latest.svg")
        note(f"written to {path.relative_to(RESULTS.parent.parent)}")
    note("done")


def _order(line: Line) -> tuple[bool, int]:
    """Promises by their number, what is only shown at the end."""
    return not line.promise, line.promise


if __name__ == "__main__":
    main()
