"""When the night should run: once its evidence is there, and an hour before anything opens.

Pure: the clock is passed in. A night runs once a day at one time of day, in UTC: a local time is
skipped, or comes twice, on the days on which the clocks change. So a time fits if it fits every
open of the year ahead, in summer and in winter, around holidays and early closes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from recon.config.settings import Account, Config
from recon.core.calendars import NEW_YORK, Calendar, TradeDates, UtcDays, last_ended, to_utc
from recon.core.records import Session

LEAD = timedelta(minutes=60)
"""Before an open by which a night has to be published."""

LONGEST_RUN = timedelta(hours=1)
"""What a run may take: recon.service ends it then."""

AHEAD = timedelta(days=366)
STEP = timedelta(minutes=15)
FLEX_RENEWED = time(5)
"""By when, in New York, IBKR has renewed its statements with the day before."""

SETTLED = timedelta(minutes=15)
"""After its end until a session's last records are served."""

Openings = Mapping[str, Sequence["Opening"]]


@dataclass(frozen=True, slots=True)
class Opening:
    """One open of one account, and from when on `session`, the one before it, can be told (UTC)."""

    at: datetime
    ready_at: datetime
    session: date

    @property
    def needed_by(self) -> datetime:
        """When something has to be published."""
        return self.at - LEAD

    @property
    def can_be_kept(self) -> bool:
        """Whether its evidence is there when it is needed."""
        return self.ready_at <= self.needed_by

    def run(self, daily: time) -> datetime:
        """Return the run that is for this open, of those at `daily` UTC.

        The last one in time; where there is none that has the evidence, the first one that has.
        """
        start = datetime.combine(self.needed_by.date(), daily, UTC)
        if start > self.needed_by:
            start -= timedelta(days=1)
        while start < self.ready_at:
            start += timedelta(days=1)
        return start

    def is_late(self, daily: time) -> bool:
        """Return whether its run begins after it is needed."""
        return self.run(daily) > self.needed_by


@dataclass(frozen=True, slots=True)
class Schedule:
    """A time of day at which a night runs (UTC), and the opens ahead of each account."""

    daily: time
    now: datetime
    openings: Openings

    @property
    def next_run(self) -> datetime:
        """When it runs next."""
        today = datetime.combine(self.now.date(), self.daily, UTC)
        return today if today > self.now else today + timedelta(days=1)

    @property
    def on_calendar(self) -> str:
        """The timer's OnCalendar= for systemd."""
        return f"*-*-* {self.daily:%H:%M}:00 UTC"

    def crontab(self, command: str) -> tuple[str, str]:
        """Return the crontab's zone and its line for a command, of which cron takes no bare %."""
        escaped = command.replace("%", "\\%")
        return "CRON_TZ=UTC", f"{self.daily.minute} {self.daily.hour} * * * {escaped}"

    def warnings(self) -> list[str]:
        """Say for which accounts it runs too late, how often, and what would be better."""
        return [
            f"{account}: runs too late for {len(late)} of its {len(openings)} opens ahead; the "
            f"first is {late[0].at:%Y-%m-%d %H:%M} UTC, and the run {_from(late[0], self.daily)}"
            for account, openings in self.openings.items()
            if (late := [each for each in openings if each.is_late(self.daily)])
        ]


def schedule(config: Config, now: datetime, daily: time | None = None) -> Schedule:
    """Return when the night of a configuration should run: at `daily` UTC, else at what fits best.

    Raises ConfigError for a calendar that is not known.
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
    """Return the time of day that leaves a run its hour before the most opens.

    Of those that do, the latest whole hour: evidence is corrected late. Where an open cannot be
    kept at all, the time that is late by the least.
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
    """Return from when on a session of an account can be told."""
    if account.venue == "ibkr-flex":
        day = session.date + timedelta(days=1)
        return to_utc(datetime.combine(day, FLEX_RENEWED), NEW_YORK)
    return session.end + SETTLED


def _from(opening: Opening, daily: time) -> str:
    """Say when a run is that is late, and why."""
    said = f"for it is at {opening.run(daily):%Y-%m-%d %H:%M} UTC"
    if not opening.can_be_kept:
        return f"{said}: its evidence is there at {opening.ready_at:%H:%M} UTC, and not before"
    return f"{said}: it has to be by {opening.needed_by:%H:%M} UTC"
