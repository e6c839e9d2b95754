from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.core.calendars import NEW_YORK, calendar, last_ended, market_hours, to_utc, window
from recon.errors import ConfigError

XNYS = calendar("XNYS")
UTC_DAYS = calendar(None)
FROM, TO = datetime(2024, 1, 3), datetime(2026, 10, 1)
instants = st.datetimes(FROM, TO, timezones=st.just(UTC))


@given(instants)
@settings(max_examples=200)
def test_every_instant_lies_in_exactly_one_session(at: datetime) -> None:
    for days in (XNYS, UTC_DAYS):
        session = days.session_of(at)
        assert session.start <= at < session.end
        following = days.session_on_or_after(session.date + timedelta(days=1))
        assert following.start == session.end
        assert days.session(following.date - timedelta(days=1)) == session


@given(instants)
@settings(max_examples=200)
def test_the_last_ended_session_has_ended_and_the_next_has_not(now: datetime) -> None:
    for days in (XNYS, UTC_DAYS):
        session = last_ended(days, now)
        assert session.end <= now
        assert days.session_on_or_after(session.date + timedelta(days=1)).end > now


@pytest.mark.parametrize(
    ("at", "session"),
    [
        ("2026-03-06T21:00", date(2026, 3, 6)),  # Friday, before the clocks change
        ("2026-03-07T01:19", date(2026, 3, 6)),  # 20:19 in New York
        ("2026-03-07T01:20", date(2026, 3, 9)),  # 20:20: Monday's session
        ("2026-03-10T00:19", date(2026, 3, 9)),  # 20:19, an hour earlier in UTC
        ("2026-03-10T00:20", date(2026, 3, 10)),
        ("2026-07-03T15:00", date(2026, 7, 6)),  # Independence Day, observed
        ("2026-11-27T23:00", date(2026, 11, 27)),  # an early close
    ],
)
def test_trade_dates_follow_new_york_and_the_exchange(at: str, session: date) -> None:
    assert XNYS.session_of(datetime.fromisoformat(at).replace(tzinfo=UTC)).date == session


def test_local_times_that_do_not_exist_or_exist_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="does not exist"):
        to_utc(datetime(2026, 3, 8, 2, 30), NEW_YORK)
    with pytest.raises(ValueError, match="exists twice"):
        to_utc(datetime(2026, 11, 1, 1, 30), NEW_YORK)
    with pytest.raises(ValueError, match="already has a zone"):
        to_utc(datetime(2026, 1, 1, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
    assert to_utc(datetime(2026, 11, 1, 3, 0), NEW_YORK) == datetime(2026, 11, 1, 8, tzinfo=UTC)


def test_an_empty_window_and_an_unknown_calendar_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match="later than the as-of session 2026-05-01"):
        window(UTC_DAYS, date(2026, 5, 2), date(2026, 5, 1))
    with pytest.raises(ConfigError, match="XNYS"):
        calendar("NOWHERE")


def test_a_window_begins_and_ends_with_sessions() -> None:
    span = window(XNYS, date(2026, 1, 1), date(2026, 1, 4))  # a holiday, and a Sunday
    assert (span.first.date, span.last.date) == (date(2026, 1, 2), date(2026, 1, 2))


@pytest.mark.parametrize("name", ["XNYS", "XHKG", "CMES"])
@given(
    st.datetimes(datetime(2026, 1, 5), datetime(2026, 12, 1), timezones=st.just(UTC)),
    st.integers(0, 20_000),
)
@settings(max_examples=50)
def test_open_time_is_the_minutes_that_the_exchange_lists(
    name: str, start: datetime, minutes: int
) -> None:
    start = start.replace(second=0, microsecond=0)
    end = start + timedelta(minutes=minutes)
    listed = exchange_calendars.get_calendar(name, side="left").minutes
    expected = int(((listed >= start) & (listed < end)).sum()) * 60
    assert market_hours(name, 2026).open_s(start, end) == expected


def test_the_hours_of_a_day_with_an_early_close_are_fewer_and_a_bar_of_a_day_is_a_session() -> None:
    hours = market_hours("XNYS", 2026)
    days = [datetime(2026, 11, day, tzinfo=UTC) for day in (25, 26, 27, 28, 29)]
    opened = [hours.open_s(day, day + timedelta(days=1)) / 3600 for day in days]
    assert opened == [6.5, 0, 3.5, 0, 0]
    assert [hours.bar_s(bar_s) / 3600 for bar_s in (3600, 8 * 3600, 86400, 7 * 86400)] == [
        *(1, 6.5, 6.5),
        7 * 6.5,
    ]
    always = market_hours(None, 2026)
    assert always.open_s(days[0], days[4]) == 4 * 86400
    assert (always.open_s(days[4], days[0]), always.bar_s(86400)) == (0, 86400)


def test_hours_of_an_unknown_calendar_say_what_to_do() -> None:
    with pytest.raises(ConfigError, match="XNYS"):
        market_hours("NOWHERE", 2026)


@pytest.mark.parametrize("year", [1950, 2000, 2005])
def test_a_calendar_goes_back_to_any_requested_year(year: int) -> None:
    days = calendar("XNYS")
    session = days.session_on_or_after(date(year, 1, 3))
    assert session.date.year == year
    assert session.end == days.session_on_or_after(session.date + timedelta(days=1)).start
    assert days.session(session.date) == calendar("XNYS").session(session.date)


@pytest.mark.parametrize("name", ["XTKS", "XSHG", "XNYS"])
def test_a_day_before_a_calendar_begins_names_the_first_one(name: str) -> None:
    with pytest.raises(ConfigError, match="the first possible date is") as caught:
        calendar(name).session_on_or_after(date(1850, 1, 1))
    first = date.fromisoformat(str(caught.value).rpartition(" ")[2])
    assert calendar(name).session_on_or_after(first).date == first


def test_a_calendar_says_how_far_ahead_it_is_known() -> None:
    with pytest.raises(ConfigError, match="is known until"):
        calendar("XNYS").session(date(2200, 1, 1))


@pytest.mark.parametrize("name", ["ASEX", "XBEL", "XBSE", "XNYS"])
def test_a_market_that_cannot_be_computed_is_an_error_of_the_configuration(name: str) -> None:
    """exchange_calendars has only the name of some markets."""
    try:
        assert calendar(name).session(date(2026, 11, 20)).date <= date(2026, 11, 20)
    except ConfigError as error:
        refused = str(error)
        assert "cannot be computed by exchange-calendars: use another" in refused
