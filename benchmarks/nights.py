"""Promises 3 and 6: whole nights, end to end, without the network.

The incremental warehouse is being built. Its benchmark goes here: `nights` and `late_fix` give
the figures of promise 3, `stages` those of promise 6; `measure` turns them into lines. Until then
each says so.
"""

from __future__ import annotations

from benchmarks.promises import Line, Run, Target

HISTORIES = (0, 10_000_000, 50_000_000)
"""Fills that the warehouse holds before the night that is timed."""

NEW = 1_000_000
"""Fills of the night that is timed."""

LATE = 100
"""Fills of a late fix, three sessions back."""

AFTER_TARGET = Target("at most", 1.15, "× a night after none")
FIX_TARGET = Target("at most", 0.25, "of a night")
WHOLE_TARGET = Target("at most", 3, "× reading and staging raw")


class NotBuiltYetError(Exception):
    """There is no code behind this promise yet."""


def measure(run: Run) -> list[Line]:
    """Time nights after histories of several lengths, a late fix, and one night by stage."""
    run.note("nights")
    return [*_nights(run), *_whole(run)]


def nights(history: int) -> dict[str, float]:
    """Return the time of a night of `NEW` fills after `history` fills, by stage, in seconds.

    In a process of its own: land the history night by night, then time one more.
    """
    raise NotBuiltYetError(history)


def late_fix(history: int) -> float:
    """Return the time of a night that brings `LATE` fills three sessions back, in seconds."""
    raise NotBuiltYetError(history)


def stages() -> dict[str, float]:
    """Return the time of each stage of one whole night, in seconds: read, stage, …, report.

    `recon.night.run_night` over a connector that yields `NEW` OKX fills and their bills at the
    level of the wire (`connectors/protocol.py`), so that no network takes part.
    """
    raise NotBuiltYetError


def _nights(run: Run) -> list[Line]:
    after = "a night after 50M fills"
    fix = "a late fix of 100 fills"
    try:
        histories = HISTORIES[:2] if run.is_quick else HISTORIES
        totals = {history: sum(nights(history).values()) for history in histories}
        fixed_s = late_fix(histories[-1])
    except NotBuiltYetError:
        return [
            Line(3, after, AFTER_TARGET, missing="not built yet"),
            Line(3, fix, FIX_TARGET, missing="not built yet"),
        ]
    detail = ", ".join(f"{total:.2f} s after {count:,}" for count, total in totals.items())
    last_s = totals[histories[-1]]
    return [
        Line(3, after, AFTER_TARGET, last_s / totals[0], detail),
        Line(3, fix, FIX_TARGET, fixed_s / last_s, f"{fixed_s:.2f} s"),
    ]


def _whole(run: Run) -> list[Line]:
    what = "the whole night, a new fill"
    try:
        parts = stages()
    except NotBuiltYetError:
        return [Line(6, what, WHOLE_TARGET, missing="not built yet")]
    necessary_s = parts["read"] + parts["stage"]
    detail = ", ".join(f"{name} {part_s:.2f} s" for name, part_s in parts.items())
    run.note(detail)
    return [Line(6, what, WHOLE_TARGET, sum(parts.values()) / necessary_s, detail)]
