"""How far evidence reaches: the unbroken union of what fetches were served. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class Interval(NamedTuple):
    """A half-open stretch of time, UTC, over which the evidence is certainly whole."""

    start: datetime
    end: datetime


def reach(served: Iterable[Interval], start: datetime) -> datetime | None:
    """Return the instant up to which `served` covers everything since `start`, without a gap.

    None where not even `start` is covered.
    """
    end: datetime | None = None
    for interval in sorted(served):
        if interval.start > (end or start):
            break
        if interval.end > start and (end is None or interval.end > end):
            end = interval.end
    return end


def unbroken(served: Iterable[Interval]) -> Interval | None:
    """Return the last stretch that `served` covers without a gap: what is proven, and since when.

    None where nothing was served.
    """
    last: Interval | None = None
    for interval in sorted(served):
        if interval.start >= interval.end:
            continue
        if last is None or interval.start > last.end:
            last = interval
        else:
            last = Interval(last.start, max(last.end, interval.end))
    return last


def common(stretches: Iterable[Interval | None]) -> Interval | None:
    """Return what all stretches have in common: None where they have nothing, or one is None."""
    start: datetime | None = None
    end: datetime | None = None
    for stretch in stretches:
        if stretch is None:
            return None
        start = stretch.start if start is None else max(start, stretch.start)
        end = stretch.end if end is None else min(end, stretch.end)
    return Interval(start, end) if start is not None and end is not None and start < end else None
