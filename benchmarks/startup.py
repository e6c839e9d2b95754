"""Promise 5: how long `recon --help` takes, beside a Python that does nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.measure import ROOT, interleaved
from benchmarks.promises import Line, Run, Target

REPEATS = 15
TARGET = Target("at most", 5, "× python -c pass")


def measure(run: Run) -> list[Line]:
    """Start both, fifteen times each, in turn."""
    run.note("start-up: recon --help beside python -c pass")
    script = Path(sys.executable).with_name("recon")
    if not script.exists():
        detail = "recon is not installed beside this Python: make setup"
        return [Line(5, "recon --help", TARGET, detail=detail)]
    times = interleaved(
        {
            "nothing": lambda: _start(sys.executable, "-c", "pass"),
            "help": lambda: _start(str(script), "--help"),
        },
        REPEATS,
    )
    return [
        Line(
            5,
            "recon --help",
            TARGET,
            times["help"] / times["nothing"],
            f"{times['help'] * 1000:.0f} ms beside {times['nothing'] * 1000:.0f} ms",
            explain=lambda: _imports(script),
        )
    ]


def _start(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _imports(script: Path) -> str:
    """Return the slowest imports of `recon --help`, own time in microseconds."""
    command = [sys.executable, "-X", "importtime", str(script), "--help"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    parts = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()]
    own = sorted(((int(a), b.strip()) for a, _, b in parts if a.strip().isdigit()), reverse=True)
    return "\n".join(f"{time_us:>8} µs  {name}" for time_us, name in own[:10])
