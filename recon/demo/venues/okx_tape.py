"""Rows that only ever grow, served newest first a page at a time, as OKX pages fills and bills."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from recon.demo.venues.okx_instruments import Row


@dataclass(frozen=True, slots=True)
class Cut:
    """Which rows a page may hold. `after` and `before` are exclusive, the times inclusive, in ms.

    `oldest_ms` is the far end of what the endpoint keeps.
    """

    after: int | None = None
    before: int | None = None
    begin_ms: int | None = None
    end_ms: int | None = None
    oldest_ms: int | None = None
    limit: int = 100

    def admits(self, at_ms: int) -> bool:
        """Say whether a row of that time lies within the window."""
        bounds = (self.begin_ms, self.oldest_ms)
        is_late_enough = all(bound is None or at_ms >= bound for bound in bounds)
        return is_late_enough and (self.end_ms is None or at_ms <= self.end_ms)


@dataclass(slots=True)
class Tape:
    """Rows in ascending order of a number: billId, or a time where the venue pages by time."""

    ids: list[int] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def append(self, row_id: int, at_ms: int, row: Row) -> None:
        """Add the newest row. Its id may not be lower than the last one (ValueError)."""
        if self.ids and row_id < self.ids[-1]:
            raise ValueError(f"id {row_id} comes after {self.ids[-1]}")
        self.rows.append(row)
        self.times_ms.append(at_ms)
        self.ids.append(row_id)

    def page(self, cut: Cut, is_wanted: Callable[[Row], bool]) -> list[Row]:
        """Return the newest rows within `cut`, newest first."""
        high = len(self.ids) if cut.after is None else bisect_left(self.ids, cut.after)
        low = 0 if cut.before is None else bisect_right(self.ids, cut.before)
        return list(islice(self._matching(range(high - 1, low - 1, -1), cut, is_wanted), cut.limit))

    def _matching(
        self, places: Iterable[int], cut: Cut, is_wanted: Callable[[Row], bool]
    ) -> Iterable[Row]:
        # Not cut by time with bisect: a late row has an old time and a new id.
        return (
            self.rows[place]
            for place in places
            if cut.admits(self.times_ms[place]) and is_wanted(self.rows[place])
        )
