from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from recon.core.coverage import Interval, common, reach, unbroken

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def hour(number: int) -> datetime:
    return EPOCH + timedelta(hours=number)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=8), st.integers(0, 30))
def test_reach_is_the_first_hour_that_no_interval_covers(
    stretches: list[tuple[int, int]], start: int
) -> None:
    intervals = [Interval(hour(a), hour(a + length)) for a, length in stretches]
    covered = {h for a, length in stretches for h in range(a, a + length)}
    end = start
    while end in covered:
        end += 1
    assert reach(intervals, hour(start)) == (hour(end) if end > start else None)


def test_a_gap_ends_the_reach() -> None:
    whole = [Interval(hour(0), hour(2)), Interval(hour(2), hour(3)), Interval(hour(4), hour(9))]
    assert reach(whole, hour(0)) == hour(3)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=8))
def test_the_proven_interval_is_the_last_without_a_gap(
    stretches: list[tuple[int, int]],
) -> None:
    intervals = [Interval(hour(a), hour(a + length)) for a, length in stretches]
    covered = {h for a, length in stretches for h in range(a, a + length)}
    start = end = max(covered, default=0) + 1
    while start - 1 in covered:
        start -= 1
    assert unbroken(intervals) == (Interval(hour(start), hour(end)) if covered else None)


def test_the_common_interval_is_covered_by_every_kind() -> None:
    one, other = Interval(hour(1), hour(9)), Interval(hour(3), hour(12))
    assert common([one, other]) == Interval(hour(3), hour(9))
    assert common([one, None]) is None
    assert common([one, Interval(hour(9), hour(10))]) is None
    assert common([]) is None
