"""How things are timed: medians of an odd number of repeats, side by side, after a warm-up."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_HIGH_WATER = "VmHWM:"


def interleaved(
    works: Mapping[str, Callable[[], object]], repeats: int, warm_ups: int = 1
) -> dict[str, float]:
    """Return the median time of each work, in seconds.

    The works take turns: what else the machine does in the meantime falls on all of them alike.
    Their results are dropped between the turns, outside the time that counts.
    """
    if repeats % 2 == 0:
        raise ValueError("a median wants an odd number of repeats")
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warm_ups + repeats):
        for name, work in works.items():
            elapsed_s = once(work)
            if turn >= warm_ups:
                times[name].append(elapsed_s)
    return {name: median(taken) for name, taken in times.items()}


def once(work: Callable[[], object]) -> float:
    """Return how long one call takes, in seconds, its result not yet dropped."""
    gc.collect()
    started = time.perf_counter()
    result = work()
    elapsed_s = time.perf_counter() - started
    del result
    return elapsed_s


def peak_bytes() -> int:
    """Return the most memory that this process has held, in bytes.

    The kernel's mark of this program alone: getrusage's is inherited from whoever started it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lines = status.read_text(encoding="ascii").splitlines()
    [mark] = [line for line in lines if line.startswith(_HIGH_WATER)]
    return int(mark.split()[1]) * 1024


def in_own_process(module: str, *arguments: str, timeout_s: float = 900) -> dict[str, Any]:
    """Run a module of the benchmarks in a process of its own; return the JSON that it prints."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=timeout_s, text=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
