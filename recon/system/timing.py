"""Where the time of a run goes: its stages, timed one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter

Timer = Callable[[str], AbstractContextManager[None]]
"""Times what happens inside `with timer("name"):`."""


class Stages:
    """The wall time of each stage of a run, in seconds, in the order in which they began.

    A stage that is entered again adds to its time; one inside another is not counted twice, as the
    outer one stops while the inner one runs.
    """

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._now = now
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what happens inside under this name."""
        self._tick()
        self._running.append(name)
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._tick()
            self._running.pop()

    def _tick(self) -> None:
        now = self._now()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now
