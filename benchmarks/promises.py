"""What is promised, what was measured, and whether the one keeps the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Bound = Literal["at most", "at least"]
Verdict = Literal["held", "not held", "not measured here", "not built yet", "shown"]
Explain = Callable[[], str]
_SIGNS: dict[Bound, str] = {"at most": "≤", "at least": "≥"}


@dataclass(frozen=True, slots=True)
class Target:
    """What performance.md promises: a bound, in a unit such as `× base`."""

    bound: Bound
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.limit} {self.unit}"

    @property
    def limit(self) -> str:
        """The bound without its unit, as `≤ 10`."""
        return f"{_SIGNS[self.bound]} {number(self.value)}"

    def margin(self, measured: float) -> float:
        """Return how many times better than the target: 1 keeps it exactly, less breaks it.

        Infinite where nothing was allowed, and nothing was found.
        """
        better, worse = (
            (self.value, measured) if self.bound == "at most" else (measured, self.value)
        )
        if better == worse:
            return 1.0
        return better / worse if worse else float("inf")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    `promise` is its number in performance.md, 0 where none was given; `measured` is in the unit of
    the target, or in `unit` where there is none; without it, `missing` says why. `detail` gives the
    absolute figures of this run.
    `explain` finds out what bounds a promise that is not held: it may take as long again.
    """

    promise: int
    what: str
    target: Target | None
    measured: float | None = None
    detail: str = ""
    missing: Literal["", "not measured here", "not built yet"] = ""
    explain: Explain | None = None
    bounded_by: str = ""
    unit: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the promise is kept, or why nobody knows; `shown` where none was given."""
        if self.measured is None:
            return self.missing or "not measured here"
        if self.target is None:
            return "shown"
        return "held" if self.target.margin(self.measured) >= 1 else "not held"

    @property
    def shown(self) -> str:
        """The measured figure with its unit, or a dash."""
        if self.measured is None:
            return "–"
        unit = self.target.unit if self.target else self.unit
        return f"{number(self.measured)} {unit}".strip()

    def explained(self) -> Line:
        """Return the line with what bounds it, if it is not held and somebody can say."""
        if self.verdict != "not held" or self.explain is None:
            return self
        return replace(self, bounded_by=self.explain())


@dataclass(frozen=True, slots=True)
class Run:
    """What a subject is given: how much to do, a scratch folder, where to say what it does."""

    is_quick: bool
    folder: Path
    note: Callable[[str], None]

    def path(self, name: str) -> Path:
        """Return where a scratch file of this name is, or will be."""
        return self.folder / name


def number(value: float) -> str:
    """Return a figure as people read it: three digits at most after the point, none it lacks."""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def rate(fills: int, seconds: float) -> str:
    """Return a rate as `6.0 M fills/s` or `18 k fills/s`."""
    per_second = fills / seconds
    million = 1_000_000
    if per_second >= million:
        return f"{per_second / million:.1f} M fills/s"
    return f"{per_second / 1000:.3g} k fills/s"
