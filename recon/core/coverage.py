"""Coverage intervals: unions and intersections of the intervals that fetches were served. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class Interval(NamedTuple):
    """A half-open UTC interval over which the evidence is complete."""

    start: datetime
    end: datetime


def reach(served: Iterable[Interval], start: datetime) -> datetime | None:
    """Return the instant up to which `served` covers all time since `start`, without a gap.

    Return None if `start` is not covered.
    """
    end: datetime | None = None
    for interval in sorted(served):
        if interval.start > (end or start):
            break
        if interval.end > start and (end is None or interval.end > end):
            end = interval.end
    return end


def unbroken(served: Iterable[Interval]) -> Interval | None:
    """Return the last interval that `served` covers without a gap; None if it covers nothing."""
    last: Interval | None = None
    for interval in sorted(served):
        if interval.start >= interval.end:
            continue
        if last is None or interval.start > last.end:
            last = interval
        else:
            last = Interval(last.start, max(last.end, interval.end))
    return last


def common(intervals: Iterable[Interval | None]) -> Interval | None:
    """Return the intersection of intervals; None if it is empty or an interval is None."""
    start: datetime | None = None
    end: datetime | None = None
    for interval in intervals:
        if interval is None:
            return None
        start = interval.start if start is None else max(start, interval.start)
        end = interval.end if end is None else min(end, interval.end)
    return Interval(start, end) if start is not None and end is not None and start < end else None
