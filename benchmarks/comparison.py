"""Promise 2: recon beside the same work done in other ways, and fill by fill beside its peers.

Like is held against like. A loop, a peer's too, gets its fills as they lie ready in memory: so
does the compiled kernel that it is held against. A peer makes its own objects of the fills first,
which is timed as well: with that, it stands beside recon from raw fills in DuckDB, join and sort
included, in the detail. recon is timed anew beside each: other work on the machine then falls on
both.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

from benchmarks.environments import NotHereError, python_of, run_script
from benchmarks.fills import some_keys, write_csv
from benchmarks.kernels import has_compiled
from benchmarks.lots import MILLION, bound, made
from benchmarks.measure import in_own_process
from benchmarks.promises import Explain, Line, Run, Target, number, rate
from recon.core.records import Method
from recon.lots.book import Book

SMALL = 100_000
"""Fills for what takes minutes over a million: the first keys, whole."""

LOOP_TARGET = Target("at least", 50, "× a Decimal loop")
NO_FILL = Target("at most", 0, "fills")
FROM_RAW = "SQL FIFO"
"""The other way that starts where recon does: at the raw fills in DuckDB."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer: its script, what recon promises beside it, and how exact it is itself."""

    name: str
    script: str
    method: Method
    target: Target
    rounding: Decimal
    """What it rounds a fill's PnL to: a difference within that is none."""

    is_small: bool = True
    is_exactness_promised: bool = True


PEERS = (
    Peer(
        "beancount", "beancount_fifo.py", "fifo", Target("at least", 500, "× beancount"), Decimal(0)
    ),
    Peer(
        "nautilus",
        "nautilus_average.py",
        "average",
        Target("at least", 80, "× nautilus"),
        Decimal("0.00000001"),
    ),
    Peer(
        "vectorbt",
        "vectorbt_average.py",
        "average",
        Target("at least", 2, "× vectorbt"),
        Decimal("0.00000001"),
        is_small=False,
        is_exactness_promised=False,
    ),
)


@dataclass(frozen=True, slots=True)
class Ours:
    """recon's own rate over a million flat fills, in fills/s: from raw, and the kernel alone."""

    whole: float
    kernel: float


def measure(run: Run) -> list[Line]:
    """Time the other ways and each peer beside recon; hold each peer's fills against recon's."""
    whole = made(run, "flat", MILLION)
    small = run.path("small.duckdb")
    some_keys(whole, small, SMALL // 5 if run.is_quick else SMALL)
    lines = _others(run, small, whole)
    for peer in PEERS:
        lines += _beside(run, peer, whole, small)
    return lines


def _ours(run: Run, whole: Path) -> Ours | None:
    if not has_compiled():
        return None
    run.note("peers: recon's own rate")
    times = in_own_process("kernels", "rates", "7", str(whole))
    return Ours(MILLION / times["whole"], MILLION / times["kernel"])


def _others(run: Run, small: Path, whole: Path) -> list[Line]:
    ours = _ours(run, whole)
    run.note("peers: Decimal loop, plain integers, pandas, SQL")
    repeats = "1" if run.is_quick else "3"
    found = in_own_process("others", repeats, str(small), str(whole))
    why = partial(bound, whole)
    exact = Decimal(found["plain integers"]["gross"])
    lines = []
    for name, way in found.items():
        seconds, fills = way["seconds"], way["fills"]
        off = abs(Decimal(way["gross"]) - exact)
        detail = f"{rate(fills, seconds)}, gross {f'off by {off:.1e}' if off else 'equal'}"
        is_from_raw = name == FROM_RAW
        ratio = other = None
        if ours:
            like, unlike = ours.kernel, ours.whole
            if is_from_raw:
                like, unlike = unlike, like
            ratio, other = like * seconds / fills, unlike * seconds / fills
            detail += f"; {number(other)} × {'the kernel alone' if is_from_raw else 'from raw'}"
        if name == "Decimal loop":
            lines.append(Line(2, "beside a Decimal loop", LOOP_TARGET, ratio, detail, explain=why))
        else:
            lines.append(Line(0, f"beside {name}", None, ratio, detail, unit=f"× {name}"))
    return lines


def _beside(run: Run, peer: Peer, whole: Path, small: Path) -> list[Line]:
    what, differing = f"beside {peer.name}", f"fills that differ from {peer.name}"
    exactness = NO_FILL if peer.is_exactness_promised else None
    promise = 2 if exactness else 0
    try:
        python = python_of(peer.name, run)
        if run.is_quick and not peer.is_small:
            raise NotHereError("left out when quick")
    except NotHereError as missing:
        why = str(missing)
        return [
            Line(2, what, peer.target, detail=why),
            Line(promise, differing, exactness, detail=why),
        ]
    ours = _ours(run, whole)
    run.note(f"peers: {peer.name}")
    given, told = run.path(f"{peer.name}-fills.csv"), run.path(f"{peer.name}-realised.csv")
    write_csv(small if peer.is_small else whole, given)
    repeats = "1" if run.is_quick else "3"
    answer = json.loads(run_script(python, peer.script, str(given), str(told), repeats))
    return [
        _rate_line(peer, what, answer, ours, partial(bound, whole)),
        _exactness_line(peer, differing, exactness, given, told),
    ]


def _rate_line(
    peer: Peer, what: str, answer: Mapping[str, float], ours: Ours | None, why: Explain
) -> Line:
    fills, loop_s = int(answer["fills"]), answer["loop_s"]
    all_s = answer["prepare_s"] + loop_s
    detail = f"its loop {rate(fills, loop_s)}; with its objects {rate(fills, all_s)}"
    if ours:
        detail += f", of which recon from raw fills does {number(ours.whole * all_s / fills)} ×"
    if "alone_s" in answer:
        detail += f"; its inventories without booking {rate(fills, answer['alone_s'])}"
    ratio = ours.kernel * loop_s / fills if ours else None
    return Line(2, what, peer.target, ratio, detail, explain=why)


def _exactness_line(peer: Peer, what: str, target: Target | None, given: Path, told: Path) -> Line:
    with told.open(encoding="utf-8", newline="") as file:
        theirs = [Decimal(pnl) for _, pnl in csv.reader(file)]
    off = [
        abs(own - their) for own, their in zip(realised(given, peer.method), theirs, strict=True)
    ]
    differing = sum(one > peer.rounding for one in off)
    detail = f"of {len(off):,}"
    if any(off):
        detail += f"; the largest difference is {max(off):.1e}, its rounding {peer.rounding:.0e}"
    return Line(2 if target else 0, what, target, differing, detail, unit="fills")


def realised(given: Path, method: Method) -> Iterable[Decimal]:
    """Yield the PnL before fees that each fill of a CSV realised, by `recon.lots`, in order."""
    book, key = Book(method), ""
    with given.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["key"] != key:
                book, key = Book(method), row["key"]
            units = int(Decimal(row["qty"]).scaleb(8))
            value = units * int(Decimal(row["price"]).scaleb(8)) * 100
            signed = units if row["side"] == "buy" else -units
            yield Decimal(book.fill(signed, value, 0).gross).scaleb(-18)
