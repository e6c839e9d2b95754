"""Liveness: whether a bot is alive, by its heartbeat. Pure: beat and clock are passed in.

A bot is alive while its main loop turns and its bars arrive. The loop has `ALLOWED` periods to
raise `seq`, so that a watch with eight looks a period notices a stop within two periods. Bars count
only open market time. They may be late by `ALLOWED_BARS`: the bar that began, the bar after it, and
a quarter of a bar for the venue to send it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from recon.core.calendars import Hours

ALLOWED = 1.75
"""The periods that `seq` may stay the same."""

ALLOWED_BARS = 2.25
"""The bars that `last_bar_at` may stay the same, in addition to two periods."""

LOOKS_A_PERIOD = 8
SKEW = timedelta(seconds=5)
"""The largest difference of a bot's clock. A larger difference is an incident."""

LONGEST_BAR_S = 24 * 3600
"""The length of a bar if the configuration does not give it."""

Kind = Literal["missing", "unreadable", "frozen", "stuck", "regressed", "clock_ahead", "no_bars"]


class Beat(NamedTuple):
    """One beat, with UTC times. `last_bar_at` is None if the beat has none."""

    bot: str
    seq: int
    at: datetime
    last_bar_at: datetime | None = None


class NoBeat(NamedTuple):
    """The reason why there is no beat: it is missing or unreadable."""

    is_missing: bool
    why: str


Reading = Beat | NoBeat


@dataclass(frozen=True, slots=True)
class Rhythm:
    """The period of a bot's beats, the length of its bars by the clock, and the market's hours."""

    period_s: float
    bar_s: float | None
    hours: Hours

    @property
    def allowed(self) -> timedelta:
        """The time that `seq` may stay the same."""
        return timedelta(seconds=ALLOWED * self.period_s)


class Known(NamedTuple):
    """The state of a bot's heartbeat so far. All times are UTC.

    `risen_at` is the time of the first beat with the present `seq`. For a bot without any beat it
    is the time of the first look. After a step back, `is_back` is True and `risen_at` stays until
    `seq` rises again. `bar_at` is the last bar or, if `names_bar` is False, the first beat without
    a bar.
    """

    risen_at: datetime
    seq: int | None = None
    at: datetime | None = None
    is_back: bool = False
    bar_at: datetime | None = None
    names_bar: bool = False


class Trouble(NamedTuple):
    """An incident of a bot: its kind, and the reason in words."""

    kind: Kind
    why: str


def judge(
    reading: Reading, known: Known | None, rhythm: Rhythm, now: datetime
) -> tuple[Known, Trouble | None]:
    """Return the state of a bot after one reading of its heartbeat, and an incident if any.

    An unreadable or missing beat changes nothing until the allowed time has passed.
    """
    if isinstance(reading, NoBeat):
        known = known or Known(risen_at=now)
        late = now - known.risen_at > rhythm.allowed
        kind: Kind = "missing" if reading.is_missing else "unreadable"
        return known, Trouble(kind, f"{reading.why}, {_since(known, now)}") if late else None
    ahead = _ahead(reading, rhythm, now)
    if ahead is not None:
        return known or Known(risen_at=now), ahead
    after = _follow(reading, known)
    return after, _loop_trouble(after, known, rhythm, now) or _bar_trouble(after, rhythm, now)


def _follow(beat: Beat, known: Known | None) -> Known:
    """Return the state after a beat whose clock is not ahead."""
    if known is None or known.seq is None or known.at is None:
        risen_at, is_back = beat.at, False
    elif beat.seq < known.seq or beat.at < known.at - SKEW:
        risen_at, is_back = known.risen_at, True
    elif beat.seq > known.seq:
        risen_at, is_back = beat.at, False
    else:
        risen_at, is_back = known.risen_at, known.is_back
    bar_at = beat.last_bar_at
    if bar_at is None:
        is_waiting = known is not None and not known.names_bar and not is_back
        bar_at = (known.bar_at if known is not None and is_waiting else None) or beat.at
    return Known(risen_at, beat.seq, beat.at, is_back, bar_at, beat.last_bar_at is not None)


def _ahead(beat: Beat, rhythm: Rhythm, now: datetime) -> Trouble | None:
    bar = timedelta(seconds=rhythm.bar_s or LONGEST_BAR_S)
    for name, at, limit in (
        ("at", beat.at, now + SKEW),
        ("last_bar_at", beat.last_bar_at, now + SKEW + bar),  # some bots name a bar by its end
    ):
        if at is not None and at > limit:
            return Trouble(
                "clock_ahead",
                f"its {name} is {_shown(at)}, ahead of this machine's clock, {_shown(now)}",
            )
    return None


def _loop_trouble(
    after: Known, before: Known | None, rhythm: Rhythm, now: datetime
) -> Trouble | None:
    if after.at is None:
        raise AssertionError("a followed beat has a time")
    if after.is_back:
        came = "" if before is None or before.is_back else f" from {before.seq}"
        return Trouble(
            "regressed",
            f"its seq or time went back{came}, to seq {after.seq} of {_shown(after.at)}: the "
            "file was restored, a second bot writes it, or the bot started to count again",
        )
    if now - after.risen_at <= rhythm.allowed:
        return None
    if now - after.at > rhythm.allowed:
        return Trouble("frozen", f"its main loop has not turned {_since(after, now)}")
    return Trouble(
        "stuck", f"its beat is of {_shown(after.at)}, but seq stays {_since(after, now)}"
    )


def _bar_trouble(after: Known, rhythm: Rhythm, now: datetime) -> Trouble | None:
    if after.bar_at is None or (rhythm.bar_s is None and not after.names_bar):
        return None
    bar_s = rhythm.hours.bar_s(rhythm.bar_s or LONGEST_BAR_S)
    waited_s = rhythm.hours.open_s(after.bar_at, now)
    if waited_s <= ALLOWED_BARS * bar_s + 2 * rhythm.period_s:
        return None
    bar = "its last bar is of" if after.names_bar else "it has reported no last_bar_at since"
    return Trouble(
        "no_bars",
        f"its main loop turns, but {bar} {_shown(after.bar_at)}: {_span(waited_s)} of open market "
        f"ago, with bars of {_span(bar_s)}",
    )


def _since(known: Known, now: datetime) -> str:
    state = "looked for" if known.seq is None else f"seq {known.seq}"
    waited_s = (now - known.risen_at).total_seconds()
    return f"since {_shown(known.risen_at)} ({state}), {_span(waited_s)} ago"


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _span(seconds: float) -> str:
    for unit_s, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds:.0f} s"
