"""Promise 1: lots from raw fills, as a multiple of the sums that any PnL needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.fills import SHAPES, Shape, make
from benchmarks.kernels import has_compiled
from benchmarks.measure import in_own_process
from benchmarks.promises import Line, Run, Target, rate

MILLION = 1_000_000
BASE_TARGET = Target("at most", 10, "× base")
SHAPE_TARGET = Target("at most", 1.2, "× flat")
MEMORY_TARGET = Target("at most", 1.2, "GB")
NAMES: dict[Shape, str] = {"flat": "flat", "skew": "skewed", "never_flat": "never flat"}


def measure(run: Run) -> list[Line]:
    """Time flat, skewed and never flat fills, a million and ten; take the memory of ten."""
    if not has_compiled():
        return [Line(1, "lots from 1M raw fills", BASE_TARGET, detail="numba is not installed")]
    lines = _times(run, MILLION, 3 if run.is_quick else 7)
    if run.is_quick:
        lines.append(Line(1, "memory, 10M fills", MEMORY_TARGET, detail="left out when quick"))
        return lines
    return [*lines, *_times(run, 10 * MILLION, 3), _memory(run)]


def _times(run: Run, count: int, repeats: int) -> list[Line]:
    size = f"{count // MILLION}M"
    run.note(f"lots: making {size} fills, three times")
    paths = [made(run, shape, count) for shape in SHAPES]
    run.note(f"lots: {size} fills, {repeats} times")
    answer = in_own_process("kernels", "times", str(repeats), *map(str, paths))
    flat, skew, never = (answer[path.stem] for path in paths)
    lines = [
        Line(
            1,
            f"lots from {size} raw fills",
            BASE_TARGET if count == MILLION else None,
            flat["whole"] / flat["base"],
            f"{flat['whole']:.2f} s, {rate(count, flat['whole'])}; base {flat['base']:.3f} s",
            explain=lambda: bound(paths[0]),
            unit=BASE_TARGET.unit,
        ),
        _beside_flat(f"{size} {NAMES['skew']}", skew, flat),
        _beside_flat(f"{size} {NAMES['never_flat']}", never, flat),
    ]
    return lines if count > MILLION else [*lines, *_parts(run, paths[0], repeats)]


def _parts(run: Run, path: Path, repeats: int) -> list[Line]:
    run.note("lots: what the parts cost")
    parts = in_own_process("kernels", "stages", str(repeats), str(path))
    names = {
        "ordered": "join and sort of 1M fills",
        "tied": "the same, ids among the sort's keys",
        "kernel": "the kernel alone, 1M fills in memory",
    }
    return [
        Line(0, what, None, parts[part] / parts["base"], f"{parts[part]:.2f} s", unit="× base")
        for part, what in names.items()
    ]


def _beside_flat(name: str, times: dict[str, float], flat: dict[str, float]) -> Line:
    detail = f"{times['whole']:.2f} s; base {times['base']:.3f} s"
    return Line(1, f"lots, {name}", SHAPE_TARGET, times["whole"] / flat["whole"], detail)


def _memory(run: Run) -> Line:
    run.note("lots: memory of 10M fills")
    path = made(run, "flat", 10 * MILLION)
    answer = in_own_process("kernels", "memory", "1", str(path))
    detail = f"the whole process; {answer['seconds']:.1f} s, unwarmed"
    return Line(1, "memory, 10M fills", MEMORY_TARGET, answer["peak_bytes"] / 1e9, detail)


def made(run: Run, shape: Shape, count: int) -> Path:
    """Return the file of a set of fills, made where it isn't there yet."""
    path = run.path(f"{shape}-{count}.duckdb")
    if not path.exists():
        make(path, shape, count)
    return path


def bound(path: Path) -> str:
    """Return what recon's time over a file of fills goes to, one part a line."""
    parts = in_own_process("kernels", "stages", "1", str(path))
    operators: dict[str, Any] = in_own_process("kernels", "operators", "1", str(path))
    heads = {
        "kernel": "the kernel alone, over batches in memory",
        "ordered": "join, sort and Arrow batches, without the kernel",
    }
    lines = [
        f"{parts[part]:.3f} s  {what} ({parts[part] / parts['base']:.1f} × base)"
        for part, what in heads.items()
    ]
    lines.append("of the latter, DuckDB's operators (summed over threads):")
    return "\n".join(lines + [f"  {line}" for line in operators["operators"]])
