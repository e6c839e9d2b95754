"""Calendars: the start and end of each session. Pure: the clock is passed in.

A crypto session is a UTC day. An equities session is a trade date of the broker. It ends at 20:20
New York time, IBKR's cut-off for securities, and starts where the session before it ended. So a
weekend or holiday belongs to the next session, and every instant lies in exactly one session.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from recon.core.records import Session, Window
from recon.errors import ConfigError

if TYPE_CHECKING:
    from exchange_calendars import ExchangeCalendar

NEW_YORK = ZoneInfo("America/New_York")
CUT_OFF = time(20, 20)
FIRST = date(1900, 1, 1)
"""The earliest date of any calendar: no broker has older records."""


class Calendar(Protocol):
    """The sessions of an account."""

    def session(self, day: date) -> Session:
        """Return the last session on or before `day`."""
        ...

    def session_on_or_after(self, day: date) -> Session:
        """Return the first session on or after `day`."""
        ...

    def session_of(self, at: datetime) -> Session:
        """Return the session that the instant `at` (UTC) lies in."""
        ...


class UtcDays:
    """Every UTC day is a session."""

    def session(self, day: date) -> Session:
        """Return the UTC day itself."""
        start = datetime.combine(day, time(), UTC)
        return Session(day, start, start + timedelta(days=1))

    def session_on_or_after(self, day: date) -> Session:
        """Return the UTC day itself."""
        return self.session(day)

    def session_of(self, at: datetime) -> Session:
        """Return the UTC day of `at`."""
        return self.session(at.astimezone(UTC).date())


class TradeDates:
    """The trade dates of one exchange calendar, for example XNYS.

    With a `year`, it has the dates from the year before to the end of the year after. A long
    process so stays within it. Without a `year`, it reaches as far back as callers ask and the
    calendar is known. A date outside raises ConfigError with the first or last known date.
    """

    def __init__(self, name: str, year: int | None = None) -> None:
        self._name = name
        self._take(_exchange_calendar(name) if year is None else _exchange_hours(name, year))

    @property
    def known_until(self) -> date:
        """The last known trade date."""
        last: date = self._calendar.last_session.date()
        return last

    def session(self, day: date) -> Session:
        """Return the last trade date on or before `day`. Raises ConfigError."""
        return self._named(self._around(day).date_to_session(day.isoformat(), "previous").date())

    def session_on_or_after(self, day: date) -> Session:
        """Return the first trade date on or after `day`. Raises ConfigError."""
        return self._named(self._around(day).date_to_session(day.isoformat(), "next").date())

    def session_of(self, at: datetime) -> Session:
        """Return the trade date whose session contains the instant `at`."""
        local = at.astimezone(NEW_YORK)
        day = local.date() if local.time() < CUT_OFF else local.date() + timedelta(days=1)
        return self.session_on_or_after(day)

    def opens(self, start: datetime, end: datetime) -> list[datetime]:
        """Return the known opening times after `start` and until `end` (UTC)."""
        opens = self._calendar.opens
        chosen = opens[(opens > start) & (opens <= end)]
        return [at.to_pydatetime().astimezone(UTC) for at in chosen]

    def _around(self, day: date) -> ExchangeCalendar:
        """Return the calendar, extended to the past if `day` or the session before needs that."""
        if day > self._last:
            raise ConfigError(
                f'calendar = "{self._name}" is known until {self._last}, and not on {day}: use '
                "an earlier date"
            )
        if day < self._first:
            self._take(_exchange_since(self._name, day.year - 1))
        if day < self._first:
            raise ConfigError(
                f'calendar = "{self._name}" is known from {self._first} on, and not on {day}: the '
                f"first possible date is {self._first}"
            )
        return self._calendar

    def _take(self, calendar: ExchangeCalendar) -> None:
        """Store a calendar, its last date, and its first date that has a date before it."""
        self._calendar = calendar
        self._first, self._last = (each.date() for each in calendar.sessions[[1, -1]])

    def _named(self, day: date) -> Session:
        before = self._calendar.previous_session(day.isoformat()).date()
        return Session(day, _cut_off(before), _cut_off(day))


class Hours(Protocol):
    """The open hours of a market, in which bars arrive."""

    def open_s(self, start: datetime, end: datetime) -> float:
        """Return the seconds of `[start, end)` (UTC) in which the market was open."""
        ...

    def bar_s(self, bar_s: float) -> float:
        """Return the open seconds in a bar of `bar_s` seconds of clock time."""
        ...


class AlwaysOpen:
    """The hours of a market that never closes."""

    def open_s(self, start: datetime, end: datetime) -> float:
        """Return the seconds of `[start, end)`."""
        return max(0.0, (end - start).total_seconds())

    def bar_s(self, bar_s: float) -> float:
        """Return `bar_s` unchanged."""
        return bar_s


class MarketHours:
    """The hours of one exchange calendar, with its holidays, early closes and lunch breaks.

    They cover the year before `year`, that year and the next year.
    """

    def __init__(self, name: str, year: int) -> None:
        schedule = _exchange_hours(name, year).schedule
        has_pause = schedule["break_start"].notna()
        self._open = [
            (start.to_pydatetime(), end.to_pydatetime())
            for opens, closes, pauses, resumes, is_paused in zip(
                *(schedule[name] for name in ("open", "close", "break_start", "break_end")),
                has_pause,
                strict=True,
            )
            for start, end in (
                [(opens, pauses), (resumes, closes)] if is_paused else [(opens, closes)]
            )
        ]
        lengths = (schedule["close"] - schedule["open"]).dt.total_seconds()
        self._session_s = float(lengths.max())

    def open_s(self, start: datetime, end: datetime) -> float:
        """Return the seconds of `[start, end)` (UTC) in which the market was open."""
        first = max(0, bisect_left(self._open, (start, start)) - 1)
        total = 0.0
        for opened, closed in self._open[first:]:
            if opened >= end:
                break
            total += max(0.0, (min(closed, end) - max(opened, start)).total_seconds())
        return total

    def bar_s(self, bar_s: float) -> float:
        """Return `bar_s`. A bar longer than a session is whole sessions, one for each day."""
        if bar_s <= self._session_s:
            return bar_s
        return self._session_s * ceil(bar_s / timedelta(days=1).total_seconds())


@lru_cache
def market_hours(name: str | None, year: int) -> Hours:
    """Return the hours of the calendar `name` around a year; without a name, all hours.

    Raises ConfigError for a name that exchange_calendars does not know.
    """
    return AlwaysOpen() if name is None else MarketHours(name, year)


def calendar(name: str | None) -> Calendar:
    """Return the calendar `name`; without a name, UTC days.

    Raises ConfigError for a name that exchange_calendars does not know.
    """
    return UtcDays() if name is None else TradeDates(name)


def assert_calendar(name: str) -> None:
    """Raise ConfigError for a name that exchange_calendars does not know.

    A market code is looked up among the package's files first. Importing it takes a second.
    """
    found = find_spec("exchange_calendars")
    folders = found.submodule_search_locations if found is not None else None
    module = f"exchange_calendar_{name.lower()}.py"
    if (
        name.isalnum()
        and name.isupper()
        and any((Path(one) / module).is_file() for one in folders or ())
    ):
        return
    import exchange_calendars

    if name not in exchange_calendars.get_calendar_names(include_aliases=True):
        raise ConfigError(_unknown(name))


def _unknown(name: str) -> str:
    return f'calendar = "{name[:40]}" is unknown: use an ISO 10383 market code, such as "XNYS"'


def last_ended(days: Calendar, now: datetime) -> Session:
    """Return the last session that has ended by `now` (UTC)."""
    current = days.session_of(now)
    return days.session(current.date - timedelta(days=1))


def window(days: Calendar, since: date, as_of: date) -> Window:
    """Return the window from `since` through the last session on or before `as_of`.

    Raises ConfigError if the window is empty.
    """
    first, last = days.session_on_or_after(since), days.session(as_of)
    if last.end <= first.start:
        raise ConfigError(
            f"since = {since} is later than the as-of session {last.date}: "
            "set an earlier `since`, or a later --as-of"
        )
    return Window(first, last)


def to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the UTC instant of a naive local time. No other function converts local times.

    Raises ValueError for a time that does not exist in `zone` or exists twice there.
    """
    if local.tzinfo is not None:
        raise ValueError(f"{local} already has a zone")
    early = local.replace(tzinfo=zone, fold=0)
    late = local.replace(tzinfo=zone, fold=1)
    if early.utcoffset() != late.utcoffset():
        exists = early.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local
        kind = "exists twice" if exists else "does not exist"
        raise ValueError(f"{local} {kind} in {zone.key}")
    return early.astimezone(UTC)


def _cut_off(day: date) -> datetime:
    return to_utc(datetime.combine(day, CUT_OFF), NEW_YORK)


@lru_cache
def _exchange_calendar(name: str, **bounds: str) -> ExchangeCalendar:
    import exchange_calendars

    try:
        return exchange_calendars.get_calendar(name, **bounds)
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise ConfigError(_unknown(name)) from error
    except (ValueError, NotImplementedError) as error:  # some markets' calendars are incomplete
        if bounds and isinstance(error, ValueError):
            raise
        raise ConfigError(
            f'calendar = "{name}" cannot be computed by exchange-calendars: use another market\'s '
            "calendar, or update exchange-calendars"
        ) from error


def _exchange_since(name: str, year: int) -> ExchangeCalendar:
    """Return a calendar from the first date of a year on, or from its first known date."""
    earliest = _exchange_calendar(name).bound_min()
    known = FIRST if earliest is None else earliest.date()
    return _exchange_calendar(name, start=max(date(max(year, 1), 1, 1), known).isoformat())


def _exchange_hours(name: str, year: int) -> ExchangeCalendar:
    """Return a calendar from the year before `year` to the end of the next, if known so far."""
    start = f"{year - 1}-01-01"
    try:
        return _exchange_calendar(name, start=start, end=f"{year + 1}-12-31")
    except ValueError:  # some exchanges announce their holidays a year at a time
        pass
    try:
        return _exchange_calendar(name, start=start)
    except ValueError as error:
        raise ConfigError(
            f'calendar = "{name}" is unknown from {start} on: update exchange-calendars'
        ) from error
