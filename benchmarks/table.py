"""The one table: for the terminal, and as Markdown with the machine and the profiles."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.promises import Line

HEADINGS = ("#", "what", "target", "measured", "verdict", "in this run")
PACKAGES = ("recon-pnl", "duckdb", "pyarrow", "numba", "numpy", "pandas")
PIPE_WIDTH = 160
"""Columns where stdout is no terminal."""

_COLOURS = {"held": "green", "not held": "bold red", "shown": "dim"}


def machine() -> dict[str, str]:
    """Return what the figures were measured on: no names of hosts, people or folders."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cores": str(cores),
        "CPU": _cpu(),
        "memory": f"{pages * page_bytes / 2**30:.0f} GiB",
        "OS": f"{_system()}, {platform.machine()}",
        "Python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def print_table(lines: Sequence[Line]) -> None:
    """Print the table on stdout; without colour and of one width where that is no terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH, no_color=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=heading in {"#", "verdict", "measured", "target"})
    for line in lines:
        *cells, verdict, detail = _cells(line)
        table.add_row(*cells, f"[{_COLOURS.get(verdict, 'yellow')}]{verdict}[/]", detail)
    console.print(table, highlight=False)


def write(lines: Sequence[Line], folder: Path, took_s: float, load: float) -> Path:
    """Write today's table, `YYYY-MM-DD.md` and `.json`; return the former."""
    today = datetime.now(UTC).date().isoformat()
    folder.mkdir(exist_ok=True)
    path = folder / f"{today}.md"
    described = {
        **machine(),
        "load": f"{load:.1f} before, {os.getloadavg()[0]:.1f} after",
        "took": f"{took_s / 60:.0f} minutes",
    }
    path.write_text("\n".join(_markdown(today, lines, described)) + "\n", encoding="utf-8")
    document = {
        "date": today,
        "machine": described,
        "lines": [
            {
                "promise": line.promise,
                "what": line.what,
                "target": line.target and str(line.target),
                "measured": line.measured,
                "verdict": line.verdict,
                "detail": line.detail,
                "bounded_by": line.bounded_by,
            }
            for line in lines
        ],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    path.with_suffix(".json").write_text(text, encoding="utf-8")
    return path


def _cells(line: Line) -> tuple[str, ...]:
    promise = str(line.promise) if line.promise else ""
    target = str(line.target) if line.target else ""
    return promise, line.what, target, line.shown, line.verdict, line.detail


def _markdown(today: str, lines: Sequence[Line], described: Mapping[str, str]) -> Iterator[str]:
    yield f"# {today}"
    yield ""
    yield "What each line means stands in [the benchmarks' README](../README.md)."
    yield ""
    yield f"| {' | '.join(HEADINGS)} |"
    yield f"|{'---|' * len(HEADINGS)}"
    for line in lines:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in _cells(line))} |"
    yield ""
    yield "## The machine"
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield from (f"| {name} | {value} |" for name, value in described.items())
    for line in lines:
        if line.verdict == "not held" and line.target and line.measured is not None:
            times = 1 / line.target.margin(line.measured)
            yield ""
            yield f"## Not held: {line.what}"
            yield ""
            yield f"{line.shown}, promised {line.target}: off by a factor of {times:.2f}."
            if line.bounded_by:
                yield ""
                yield f"```text\n{line.bounded_by}\n```"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return f"{platform.system()} {platform.release()}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
