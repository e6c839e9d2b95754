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
