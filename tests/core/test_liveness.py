"""Liveness compared with a slow model, and over fortnights of bots that stay alive."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import exchange_calendars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.core.calendars import AlwaysOpen, market_hours
from recon.core.liveness import (
    ALLOWED,
    ALLOWED_BARS,
    LONGEST_BAR_S,
    LOOKS_A_PERIOD,
    SKEW,
    Beat,
    Known,
    NoBeat,
    Reading,
    Rhythm,
    Trouble,
    judge,
)

START = datetime(2026, 5, 14, tzinfo=UTC)
PERIOD = 60
SECOND = timedelta(seconds=1)
LIMIT = ALLOWED * PERIOD * SECOND
EACH_MINUTE = Rhythm(PERIOD, None, AlwaysOpen())


class Look(NamedTuple):
    reading: Reading
    now: datetime


def judged(looks: Sequence[Look], rhythm: Rhythm = EACH_MINUTE) -> list[Trouble | None]:
    """Return the incident of each look, one after the other."""
    known: Known | None = None
    found = []
    for look in looks:
        known, trouble = judge(look.reading, known, rhythm, look.now)
        found.append(trouble)
    return found


def reckoned(looks: Sequence[Look], rhythm: Rhythm) -> str | None:
    """Return the incident at the last look, computed from all looks at once."""
    reading, now = looks[-1]
    bar = (rhythm.bar_s or LONGEST_BAR_S) * SECOND

    def is_ahead(beat: Beat, at: datetime) -> bool:
        bar_at = beat.last_bar_at or beat.at
        return beat.at > at + SKEW or bar_at > at + SKEW + bar

    beats = [
        look.reading
        for look in looks
        if isinstance(look.reading, Beat) and not is_ahead(look.reading, look.now)
    ]
    steps = [
        "back" if b.seq < a.seq or b.at < a.at - SKEW else "rise" if b.seq > a.seq else "same"
        for a, b in pairwise(beats)
    ]
    last_rise = max((n for n, step in enumerate(["rise", *steps]) if step == "rise"), default=0)
    risen_at = beats[last_rise].at if beats else looks[0].now
    if isinstance(reading, NoBeat):
        kind = "missing" if reading.is_missing else "unreadable"
        return kind if now - risen_at > LIMIT else None
    if is_ahead(reading, now):
        return "clock_ahead"
    if "back" in steps[last_rise:]:
        return "regressed"
    if now - risen_at > LIMIT:
        return "frozen" if now - reading.at > LIMIT else "stuck"
    bar_at = reading.last_bar_at
    if bar_at is None:
        if rhythm.bar_s is None:
            return None
        first = len(beats)
        while first and beats[first - 1].last_bar_at is None:
            first -= 1
        gone_back = [n + 1 for n, step in enumerate(steps) if step == "back"]
        first = max(first, _end_of_back(steps, gone_back))
        bar_at = beats[first].at
    return "no_bars" if now - bar_at > ALLOWED_BARS * bar + 2 * PERIOD * SECOND else None


def _end_of_back(steps: Sequence[str], gone_back: Sequence[int]) -> int:
    """Return the last beat before the rise that ended the last step back; 0 without one."""
    if not gone_back:
        return 0
    rises = [n + 1 for n, step in enumerate(steps) if step == "rise" and n + 1 > gone_back[-1]]
    return rises[0] - 1


@st.composite
def some_looks(draw: st.DrawFn) -> list[Look]:
    looks = []
    now, seq, at = START, 5, START
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.integers(0, 130)) * SECOND
        seq += draw(st.sampled_from([1, 1, 1, 1, 3, 0, 0, -1, -4]))
        moved = draw(st.sampled_from(["now", "now", "now", "now", "stays", "back", "ahead"]))
        at = {
            "now": now,
            "stays": at,
            "back": at - draw(st.integers(0, 200)) * SECOND,
            "ahead": now + draw(st.integers(0, 12)) * SECOND,
        }[moved]
        bar_s = draw(st.none() | st.integers(-400, 130))
        bar_at = None if bar_s is None else now + bar_s * SECOND
        beat = Beat("b", max(0, seq), at, bar_at)
        how = draw(st.sampled_from([*["beat"] * 6, "missing", "unreadable"]))
        reading = beat if how == "beat" else NoBeat(is_missing=how == "missing", why="-")
        looks.append(Look(reading, now))
    return looks


@given(some_looks(), st.sampled_from([None, 60.0, 120.0]))
def test_any_sequence_of_beats_is_judged_as_by_the_slow_model(
    looks: list[Look], bar_s: float | None
) -> None:
    rhythm = Rhythm(PERIOD, bar_s, AlwaysOpen())
    found = [trouble and trouble.kind for trouble in judged(looks, rhythm)]
    assert found == [reckoned(looks[: n + 1], rhythm) for n in range(len(looks))]


class Case(NamedTuple):
    """A bot whose bars come by the calendar, and the bars that it reports."""

    name: str
    calendar: str | None
    bar_s: int
    is_by_end: bool = False
    says_bar_s: bool = True


CASES = [
    Case("crypto, a minute", None, 60),
    Case("crypto, an hour, by its end", None, 3600, is_by_end=True),
    Case("crypto, a day, not configured", None, 86400, says_bar_s=False),
    Case("New York, five minutes", "XNYS", 300),
    Case("New York, half an hour, by its end", "XNYS", 1800, is_by_end=True),
    Case("New York, four hours", "XNYS", 4 * 3600),
    Case("New York, a day, not configured", "XNYS", 86400, says_bar_s=False),
    Case("Hong Kong, an hour", "XHKG", 3600),
]
FORTNIGHTS = [
    date(2026, 3, 1),  # New York's clock goes forward
    date(2026, 3, 22),  # Europe's clock goes forward
    date(2026, 10, 25),  # Europe's clock goes back, then New York's
    date(2026, 11, 20),  # Thanksgiving, and the early close after it
    date(2026, 12, 20),  # Christmas, an early close, the new year
]


def bars(case: Case, first: datetime, last: datetime) -> list[tuple[datetime, datetime]]:
    """Return every bar in the exchange's own schedule."""
    length = timedelta(seconds=case.bar_s)
    if case.calendar is None:
        midnight = first.replace(hour=0, minute=0, second=0) - 3 * timedelta(days=1)
        spans = [(midnight, last)]
    else:
        schedule = exchange_calendars.get_calendar(case.calendar).schedule
        near = schedule.loc[str((first - timedelta(days=12)).date()) : str(last.date())]
        spans = [(row.open.to_pydatetime(), row.close.to_pydatetime()) for row in near.itertuples()]
    found = []
    for opened, closed in spans:
        start = opened
        while start < closed:
            end = start + length if case.calendar is None else min(start + length, closed)
            found.append((start, end))
            start += length
    return found


def beats(case: Case, first: datetime, last: datetime, seed: random.Random) -> Iterator[Beat]:
    """Yield the beats of a live bot, whose loop is at times faster or slower, and restarts."""
    all_bars = bars(case, first, last)
    at, seq, n = first, 100, 0
    while at < last:
        while n + 1 < len(all_bars) and all_bars[n + 1][1] + 2 * SECOND <= at:
            n += 1
        seq += 1
        yield Beat("b", seq, at, all_bars[n][1 if case.is_by_end else 0])
        at += PERIOD * SECOND * seed.choice([0.9, 1.0, 1.0, 1.0, 1.1, 1.5])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("day", FORTNIGHTS, ids=str)
def test_a_live_bot_has_no_incident(case: Case, day: date) -> None:
    first = datetime(day.year, day.month, day.day, tzinfo=UTC)
    last = first + timedelta(days=14)
    seed = random.Random(f"{case}{day}")
    rhythm_by_year = {
        year: Rhythm(
            PERIOD, case.bar_s if case.says_bar_s else None, market_hours(case.calendar, year)
        )
        for year in (first.year, last.year)
    }
    all_beats = list(beats(case, first, last, seed))
    known: Known | None = None
    looks = 0
    for beat, following in pairwise(all_beats):
        for share in (0.0, 0.5, 0.99):
            now = beat.at + (following.at - beat.at) * share
            known, trouble = judge(beat, known, rhythm_by_year[now.year], now)
            assert trouble is None, (case, now, trouble)
            looks += 1
    assert looks > 50_000


@given(
    st.sampled_from(CASES),
    st.integers(0, 14 * 86400),
    st.floats(0, 1),
    st.sampled_from(["frozen", "stuck", "missing", "unreadable", "clock_ahead", "regressed"]),
)
def test_a_stopped_loop_is_noticed_within_two_periods(
    case: Case, died_after_s: int, phase: float, how: str
) -> None:
    died = datetime(2026, 11, 20, tzinfo=UTC) + died_after_s * SECOND
    hours = market_hours(case.calendar, 2026)
    rhythm = Rhythm(PERIOD, None, hours)
    last = Beat("b", 7, died)
    known, trouble = judge(Beat("b", 6, died - PERIOD * SECOND), None, rhythm, died)
    known, trouble = judge(last, known, rhythm, died)
    assert trouble is None
    step = PERIOD * SECOND / LOOKS_A_PERIOD
    now = died + phase * step
    while trouble is None:
        readings: dict[str, Reading] = {
            "frozen": last,
            "stuck": last._replace(at=now),
            "missing": NoBeat(is_missing=True, why="-"),
            "unreadable": NoBeat(is_missing=False, why="-"),
            "clock_ahead": last._replace(seq=8, at=now + timedelta(hours=1)),
            "regressed": last._replace(seq=3, at=died - timedelta(hours=2)),
        }
        known, trouble = judge(readings[how], known, rhythm, now)
        now += step
    assert trouble.kind == how
    assert now - step - died <= 2 * PERIOD * SECOND


@pytest.mark.parametrize("case", [case for case in CASES if case.bar_s < 4 * 3600], ids=str)
def test_a_loop_that_turns_without_bars_is_noticed(case: Case) -> None:
    """The feed stops at 13:00 in New York: noticed soon, and never in closed hours."""
    died = datetime(2026, 11, 25, 18, tzinfo=UTC)
    if case.calendar == "XHKG":
        died = datetime(2026, 11, 25, 6, tzinfo=UTC)
    hours = market_hours(case.calendar, 2026)
    rhythm = Rhythm(PERIOD, case.bar_s, hours)
    dead_at = max(
        span[1 if case.is_by_end else 0]
        for span in bars(case, died - timedelta(days=2), died + timedelta(days=3))
        if span[1] <= died
    )
    known, now, seq = None, died, 0
    trouble = None
    while trouble is None:
        now, seq = now + PERIOD * SECOND, seq + 1
        known, trouble = judge(Beat("b", seq, now, dead_at), known, rhythm, now)
    assert trouble.kind == "no_bars"
    waited_s = hours.open_s(dead_at, now)
    assert 2 * case.bar_s < waited_s <= ALLOWED_BARS * case.bar_s + 3 * PERIOD
    assert hours.open_s(now - PERIOD * SECOND, now) > 0


def test_missing_bars_are_an_incident_only_where_bars_are_configured() -> None:
    looks = [
        Look(Beat("b", n, START + n * PERIOD * SECOND), START + n * PERIOD * SECOND)
        for n in range(100)
    ]
    assert not any(judged(looks))
    configured = judged(looks, Rhythm(PERIOD, 600, AlwaysOpen()))
    assert [trouble and trouble.kind for trouble in configured[:24]] == [None] * 24
    assert configured[25] is not None
    assert "no last_bar_at" in configured[25].why


def test_a_bot_that_restarts_its_count_is_accepted_at_its_second_beat() -> None:
    def at(n: int) -> datetime:
        return START + n * PERIOD * SECOND

    seqs = [7, 8, 1, 1, 2, 3]
    found = judged([Look(Beat("b", seq, at(n)), at(n)) for n, seq in enumerate(seqs)])
    assert [trouble and trouble.kind for trouble in found] == [
        None,
        None,
        "regressed",
        "regressed",
        None,
        None,
    ]


def test_later_beats_are_not_compared_with_a_beat_ahead_of_time() -> None:
    looks = [
        Look(Beat("b", 7, START), START),
        Look(Beat("b", 900, START + timedelta(days=1)), START + PERIOD * SECOND),
        Look(Beat("b", 8, START + 2 * PERIOD * SECOND), START + 2 * PERIOD * SECOND),
    ]
    found = judged(looks)
    assert [trouble and trouble.kind for trouble in found] == [None, "clock_ahead", None]
