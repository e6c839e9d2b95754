"""Promise 4: the bot's orders against the broker's, by order id. Nothing matches orders yet."""

from __future__ import annotations

from benchmarks.promises import Line, Run, Target

BASE_TARGET = Target("at most", 15, "× base")
GROWTH_TARGET = Target("at most", 4.5, "× the time of 1M")


def measure(run: Run) -> list[Line]:
    """Say that there is nothing to measure. The join over `fills.make`'s fills goes here."""
    run.note("matching: not built yet")
    return [
        Line(4, "matching orders, 1M × 1M", BASE_TARGET, missing="not built yet"),
        Line(4, "matching orders, 4M beside 1M", GROWTH_TARGET, missing="not built yet"),
    ]
