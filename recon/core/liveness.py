"""Whether a bot is alive, by its heartbeat alone. Pure: the beat and the clock are passed in.

A bot is alive while its main loop turns and its bars come. The loop has `ALLOWED` periods to raise
`seq`, so that whoever looks eight times a period has noticed within two. Bars are counted in the
time that the market was open, whatever the clock did meanwhile: a bar that began, the one after it,
and a quarter of one for the venue to send it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from recon.core.calendars import Hours

ALLOWED = 1.75
"""Periods without a rise of `seq` that are no trouble yet."""

ALLOWED_BARS = 2.25
"""Bars without a newer `last_bar_at` that are no trouble yet, beside two periods."""

LOOKS_A_PERIOD = 8
SKEW = timedelta(seconds=5)
"""How far a bot's clock may be off; further is an alarm of its own."""

LONGEST_BAR_S = 24 * 3600
"""What a bar is taken for where the configuration does not say."""

Kind = Literal["missing", "unreadable", "frozen", "stuck", "regressed", "clock_ahead", "no_bars"]


class Beat(NamedTuple):
    """One beat: times are UTC. `last_bar_at` is None where the bot does not say."""

    bot: str
    seq: int
    at: datetime
    last_bar_at: datetime | None = None


class NoBeat(NamedTuple):
    """Why there is no beat to judge by: there is none, or what there is cannot be read."""

    is_missing: bool
    why: str


Reading = Beat | NoBeat


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often a bot beats, how long its bars are by the clock, and when they come."""

    period_s: float
    bar_s: float | None
    hours: Hours

    @property
    def allowed(self) -> timedelta:
        """How long `seq` may stay as it is."""
        return timedelta(seconds=ALLOWED * self.period_s)


class Known(NamedTuple):
    """What was seen of a bot so far. All times are UTC.

    `risen_at` is the time of the first beat with the present `seq`; of a bot that never beat, when
    it was first looked for. After a step back it is the old one until `seq` rises again, which
    `is_back` waits for. `bar_at` is the last bar, or, where `names_bar` is False, the first beat
    without one.
    """

    risen_at: datetime
    seq: int | None = None
    at: datetime | None = None
    is_back: bool = False
    bar_at: datetime | None = None
    names_bar: bool = False


class Trouble(NamedTuple):
    """What is wrong with a bot, and the evidence in words."""

    kind: Kind
    why: str


def judge(
    reading: Reading, known: Known | None, rhythm: Rhythm, now: datetime
) -> tuple[Known, Trouble | None]:
    """Return what is known of a bot after a look at its heartbeat, and what is wrong, if anything.

    What cannot be read is not trusted, and not held against the bot before its time is up.
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
    """Return what is known after a beat that is not ahead of time."""
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
        ("last_bar_at", beat.last_bar_at, now + SKEW + bar),  # some name a bar by its end
    ):
        if at is not None and at > limit:
            return Trouble(
                "clock_ahead", f"its {name} is {_shown(at)}, and now it is {_shown(now)}"
            )
    return None


def _loop_trouble(
    after: Known, before: Known | None, rhythm: Rhythm, now: datetime
) -> Trouble | None:
    if after.at is None:
        raise AssertionError("a beat was followed")
    if after.is_back:
        came = "" if before is None or before.is_back else f" from {before.seq}"
        return Trouble(
            "regressed",
            f"its seq or time went back{came}, to seq {after.seq} of {_shown(after.at)}: a file "
            "that was restored, a second bot that writes it, or a bot that counts anew",
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
    what = "its last bar is of" if after.names_bar else "it has named no last_bar_at since"
    return Trouble(
        "no_bars",
        f"its main loop turns, but {what} {_shown(after.bar_at)}: {_span(waited_s)} of open market "
        f"ago, with bars of {_span(bar_s)}",
    )


def _since(known: Known, now: datetime) -> str:
    what = "looked for" if known.seq is None else f"seq {known.seq}"
    waited_s = (now - known.risen_at).total_seconds()
    return f"since {_shown(known.risen_at)} ({what}), {_span(waited_s)} ago"


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _span(seconds: float) -> str:
    for unit_s, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds:.0f} s"
