"""How a long run shows where it is: bars on a terminal, plain lines otherwise, all on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from recon.system.output import console, echo


class Progress(Protocol):
    """What a night tells while it works."""

    def note(self, line: str) -> None:
        """Say a line that stays."""
        ...

    def count(self, source: str, rows: int) -> None:
        """Say how many rows a source has given so far."""
        ...


class Silent:
    """Says nothing: for callers that only want the document."""

    def note(self, line: str) -> None:
        """Say nothing."""

    def count(self, source: str, rows: int) -> None:
        """Say nothing."""


class PlainLines:
    """Lines on stderr: for cron, a pipe, a log."""

    def note(self, line: str) -> None:
        """Write the line."""
        echo(line, err=True)

    def count(self, source: str, rows: int) -> None:
        """Say nothing: a log wants results, not movement."""


@contextmanager
def progress() -> Iterator[Progress]:
    """Give what fits stderr: bars where it is a terminal, plain lines where it is not."""
    if not sys.stderr.isatty():
        yield PlainLines()
        return
    from rich.progress import Progress as Bars
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,} rows"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console(err=True), transient=True) as bars:
        yield _OnTerminal(bars)


class _OnTerminal:
    def __init__(self, bars: object) -> None:
        from rich.progress import Progress as Bars
        from rich.progress import TaskID

        if not isinstance(bars, Bars):
            raise TypeError(bars)
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def note(self, line: str) -> None:
        self._bars.console.print(line, highlight=False, markup=False)

    def count(self, source: str, rows: int) -> None:
        if source not in self._tasks:
            self._tasks[source] = self._bars.add_task(source, total=None)
        self._bars.update(self._tasks[source], completed=rows)
