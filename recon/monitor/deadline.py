"""Find sessions that are not published an hour before the next open.

Pure: the clock is passed in. If the evidence of a session is served too late for that (London opens
before IBKR's statement of the session before), the deadline is an hour after the run that
`recon schedule` proposes: a deadline that nobody can meet raises no alarm.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from recon.config.settings import Account, Config
from recon.core.calendars import TradeDates
from recon.core.page import MAX_BODY, Page
from recon.errors import ConfigError
from recon.run.schedule import LEAD, LONGEST_RUN, Opening, openings_of, schedule

BEHIND = timedelta(days=60)
"""How far back opens are looked for. No market is closed for as long."""

DEADLINES = "deadline-"
"""The prefix of the keys of these incidents; the session follows."""

UNWATCHED = "no longer watched: the account is no longer in the configuration"

MOST_NAMED = 20


class Due(NamedTuple):
    """The deadline of an account: the session, when it is needed, and the open after it (UTC)."""

    account: str
    session: date
    needed_by: datetime
    opens_at: datetime

    @property
    def key(self) -> str:
        """The key of the session's incident, which all accounts share."""
        return f"{DEADLINES}{self.session}"


def due(config: Config, now: datetime) -> list[Due]:
    """Return the latest deadline of each account that has passed.

    An account whose `since` is after that session is left out. Raises ConfigError for an unknown
    calendar, or for one that ends before `now`.
    """
    found = []
    for each in _around(config, now.astimezone(UTC).date()).values():
        passed = [one for one in each if one.needed_by <= now]
        found += passed[-1:]
    since = {account.id: account.since for account in config.accounts}
    return [one for one in found if one.session >= since[one.account]]


def missed(dues: Sequence[Due], published: Mapping[str, date]) -> list[Due]:
    """Return the deadlines that are missed, by the latest published session of each account."""
    return [
        one for one in dues if one.account not in published or published[one.account] < one.session
    ]


def pages(
    late: Sequence[Due],
    published: Mapping[str, date],
    standing: Sequence[Mapping[str, Any]],
    config: Config,
) -> list[Page]:
    """Return the pages that are due: new, changed and ended incidents of the `late` sessions.

    Each session has one incident for all its accounts. It ends when each account is published, or
    has missed a later session, which has its own incident.
    """
    sessions: dict[str, list[Due]] = {}
    for one in late:
        sessions.setdefault(one.key, []).append(one)
    before = {one["key"]: one for one in standing}
    over = [
        _over(one, late, published, config) for key, one in before.items() if key not in sessions
    ]
    made = [_page(key, of, published, config) for key, of in sessions.items()]
    return over + [page for page in made if not _is_unchanged(before.get(page.key), page)]


@lru_cache(maxsize=4)
def _around(config: Config, day: date) -> dict[str, list[Due]]:
    """Return the deadlines of each account around a date, in the order of its opens."""
    start = datetime.combine(day, time(), UTC)
    opens = {}
    for account in config.accounts:
        _assert_known(account, day)
        end = start + timedelta(days=1) + LEAD
        opens[account.id] = openings_of(account, config, start - BEHIND, end)
    can_be_kept = all(one.can_be_kept for each in opens.values() for one in each)
    daily = None if can_be_kept else _proposed(config, day.year)
    return {
        account: [Due(account, one.session, _needed_by(one, daily), one.at) for one in each]
        for account, each in opens.items()
    }


@lru_cache(maxsize=4)
def _proposed(config: Config, year: int) -> time:
    """Return the time of day that `recon schedule` proposes, over the opens of a year."""
    return schedule(config, datetime(year, 1, 1, tzinfo=UTC)).daily


def _needed_by(opening: Opening, daily: time | None) -> datetime:
    if opening.can_be_kept or daily is None:
        return opening.needed_by
    return opening.run(daily) + LONGEST_RUN


def _assert_known(account: Account, day: date) -> None:
    """Raise ConfigError if a calendar has ended, since it would give no more deadlines."""
    if account.calendar is None:
        return
    until = TradeDates(account.calendar, day.year).known_until
    if until < day - timedelta(days=1):
        raise ConfigError(
            f'accounts.{account.id}: calendar = "{account.calendar}" is known only until {until}: '
            "update exchange-calendars"
        )


def _page(key: str, of: Sequence[Due], published: Mapping[str, date], config: Config) -> Page:
    named = ", ".join(one.account for one in of[:MOST_NAMED])
    lines = [_line(one, published) for one in of[:MOST_NAMED]]
    lines += [f"… and {len(of) - MOST_NAMED} more"] if len(of) > MOST_NAMED else []
    path = shlex.quote(str(config.path))
    lines.append(
        f"\nNext:\n  recon run --config {path}\n  recon check --config {path}\n"
        f"  recon schedule --config {path}\n"
        "Messages of the last run: journalctl -u recon.service, or the log that the crontab names"
    )
    title = f"recon watch: NOT PUBLISHED {of[0].session}: {named}"
    subjects = {f"deadline {one.account} {one.session}": one.account for one in of}
    return Page(key, title[:200], "\n".join(lines)[:MAX_BODY], "critical", subjects=subjects)


def _line(one: Due, published: Mapping[str, date]) -> str:
    last = published.get(one.account)
    return (
        f"{one.account}: session {one.session} was needed by {one.needed_by:%Y-%m-%d %H:%M} UTC, "
        f"as the account opens at {one.opens_at:%Y-%m-%d %H:%M} UTC; "
        + (f"the last published session is {last}" if last else "no session was ever published")
    )


def _over(
    one: Mapping[str, Any], late: Sequence[Due], published: Mapping[str, date], config: Config
) -> Page:
    """Return the page that resolves an incident, with the outcome for each of its accounts."""
    session = date.fromisoformat(one["key"].removeprefix(DEADLINES))
    watched = {account.id for account in config.accounts}
    ends = {
        account: _end(account, session, late, published) if account in watched else UNWATCHED
        for account in one["subjects"].values()
    }
    hows = ("published", "no longer watched")
    how = next((each for each in hows if all(e.startswith(each) for e in ends.values())), "over")
    lines = [f"{account}: {each}" for account, each in [*ends.items()][:MOST_NAMED]]
    title = f"recon watch: {how} {session}: {', '.join([*ends][:MOST_NAMED])}"
    return Page(one["key"], title[:200], "\n".join(lines)[:MAX_BODY], "critical", resolves=True)


def _end(account: str, session: date, late: Sequence[Due], published: Mapping[str, date]) -> str:
    if account in published and published[account] >= session:
        return f"published, as of {published[account]}"
    later = [one.session for one in late if one.account == account]
    return f"{later[0]} is missed, too: see its own page" if later else "no longer needed"


def _is_unchanged(standing: Mapping[str, Any] | None, page: Page) -> bool:
    """Return whether an incident has this page's text and subjects already."""
    return standing is not None and all(
        standing[name] == getattr(page, name) for name in ("title", "body", "subjects")
    )
