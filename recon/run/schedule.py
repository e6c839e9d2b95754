"""Find the time of the nightly run: after its evidence is served, an hour before the next open.

Pure: the clock is passed in. The run starts once a day at one UTC time. A local time would be
skipped, or come twice, on the days on which the clocks change. So a time fits if it is in time for
every open of the year ahead, in summer and in winter, around holidays and early closes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from recon.config.settings import Account, Config
from recon.core.calendars import NEW_YORK, Calendar, TradeDates, UtcDays, last_ended, to_utc
from recon.core.records import Session

LEAD = timedelta(minutes=60)
"""How long before an open a session has to be published."""

LONGEST_RUN = timedelta(hours=1)
"""How long a run may take: recon.service ends it then."""

AHEAD = timedelta(days=366)
STEP = timedelta(minutes=15)
FLEX_RENEWED = time(5)
"""The time in New York by which IBKR's statements have the day before."""

SETTLED = timedelta(minutes=15)
"""How long after a session's end its last records are served."""

Openings = Mapping[str, Sequence["Opening"]]


@dataclass(frozen=True, slots=True)
class Opening:
    """One open of one account, and when the evidence of the session before it is served (UTC)."""

    at: datetime
    ready_at: datetime
    session: date

    @property
    def needed_by(self) -> datetime:
        """When the session has to be published."""
        return self.at - LEAD

    @property
    def can_be_kept(self) -> bool:
        """Whether its evidence is there when it is needed."""
        return self.ready_at <= self.needed_by

    def run(self, daily: time) -> datetime:
        """Return the start of the daily run that serves this open, with a run at `daily` UTC.

        It is the last run in time. If that one precedes the evidence, it is the first run after the
        evidence.
        """
        start = datetime.combine(self.needed_by.date(), daily, UTC)
        if start > self.needed_by:
            start -= timedelta(days=1)
        while start < self.ready_at:
            start += timedelta(days=1)
        return start

    def is_late(self, daily: time) -> bool:
        """Return whether the run starts after the session is needed."""
        return self.run(daily) > self.needed_by


@dataclass(frozen=True, slots=True)
class Schedule:
    """The time of day (UTC) of the nightly run, and the opens ahead of each account."""

    daily: time
    now: datetime
    openings: Openings

    @property
    def next_run(self) -> datetime:
        """The start of the next run."""
        today = datetime.combine(self.now.date(), self.daily, UTC)
        return today if today > self.now else today + timedelta(days=1)

    @property
    def on_calendar(self) -> str:
        """The timer's OnCalendar= for systemd."""
        return f"*-*-* {self.daily:%H:%M}:00 UTC"

    def crontab(self, command: str) -> tuple[str, str]:
        """Return the crontab's zone and its line for a command. Cron needs each % escaped."""
        escaped = command.replace("%", "\\%")
        return "CRON_TZ=UTC", f"{self.daily.minute} {self.daily.hour} * * * {escaped}"

    def warnings(self) -> list[str]:
        """Return a warning for each account with opens for which the run is too late."""
        return [
            f"{account}: the run is too late for {len(late)} of {len(openings)} opens ahead; the "
            f"first is {late[0].at:%Y-%m-%d %H:%M} UTC: {_reason(late[0], self.daily)}"
            for account, openings in self.openings.items()
            if (late := [each for each in openings if each.is_late(self.daily)])
        ]


def schedule(config: Config, now: datetime, daily: time | None = None) -> Schedule:
    """Return the schedule of a configuration: at `daily` UTC, or at the time that fits best.

    Raises ConfigError for an unknown calendar.
    """
    openings = {
        account.id: openings_of(account, config, now, now + AHEAD) for account in config.accounts
    }
    if daily is None:
        distinct = {each for account in openings.values() for each in account}
        daily = best_time(sorted(distinct, key=lambda each: each.at))
    return Schedule(daily, now, openings)


def openings_of(account: Account, config: Config, start: datetime, end: datetime) -> list[Opening]:
    """Return an account's opens after `start` and until `end`, as far as its calendar is known."""
    if account.calendar is None:
        first = datetime.combine(start.date(), config.recon.crypto_opens, UTC)
        each = (first + timedelta(days=n) for n in range((end - first).days + 1))
        return [_opening(account, UtcDays(), at) for at in each if start < at <= end]
    days = TradeDates(account.calendar, start.year)
    return [_opening(account, days, at) for at in days.opens(start, end)]


def best_time(openings: Sequence[Opening]) -> time:
    """Return the time of day at which a run is in time for the most opens.

    Of several it is the latest whole hour, since evidence is corrected late. If no time is in time
    for an open, it is the time that is late by the least.
    """

    def merit(daily: time) -> tuple[int, timedelta, bool, time]:
        over = [each.run(daily) + LONGEST_RUN - each.needed_by for each in openings]
        late = [each for each in over if each > timedelta()]
        return -len(late), -sum(late, timedelta()), daily.minute == 0, daily

    midnight = datetime.combine(date.min, time())
    return max(((midnight + n * STEP).time() for n in range(timedelta(days=1) // STEP)), key=merit)


def _opening(account: Account, days: Calendar, at: datetime) -> Opening:
    session = last_ended(days, at)
    return Opening(at, _ready(account, session), session.date)


def _ready(account: Account, session: Session) -> datetime:
    """Return when the evidence of an account's session is served."""
    if account.venue == "ibkr-flex":
        day = session.date + timedelta(days=1)
        return to_utc(datetime.combine(day, FLEX_RENEWED), NEW_YORK)
    return session.end + SETTLED


def _reason(opening: Opening, daily: time) -> str:
    """Return when a late run starts, and why it is late."""
    start = f"its run starts {opening.run(daily):%Y-%m-%d %H:%M} UTC"
    if not opening.can_be_kept:
        return f"{start}, as its evidence is served only at {opening.ready_at:%H:%M} UTC"
    return f"{start}, and the session is needed by {opening.needed_by:%H:%M} UTC"
