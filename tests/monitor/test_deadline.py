"""What has to be published by when: held against an open-by-open reckoner over two years."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.config.settings import Config, load
from recon.core.page import Page
from recon.errors import ConfigError
from recon.fetch.plan import make_plan
from recon.monitor.deadline import Due, due, missed, pages
from recon.run.schedule import schedule
from tests.conftest import slow_after

NEW_YORK = ZoneInfo("America/New_York")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FIRST, LAST = date(2025, 1, 2), date(2026, 12, 31)
"""Two years with four changes of the clocks, every holiday, early closes, and a day of mourning."""

OKX = """
[[accounts]]
id = "okx"
venue = "okx"
currency = "USDT"
since = {since}
api_key = {{ env = "NOBODY_SET_THIS" }}
api_secret = {{ env = "NOBODY_SET_THIS" }}
passphrase = {{ env = "NOBODY_SET_THIS" }}
"""
FLEX = """
[[accounts]]
id = "{name}"
venue = "ibkr-flex"
currency = "USD"
since = {since}
calendar = "{name}"
files = "statements/*.xml"
"""


def config(folder: Path, *names: str, since: date = date(2024, 1, 2), more: str = "") -> Config:
    text = f"[recon]\n{more}\n"
    for name in names:
        text += (OKX if name == "okx" else FLEX).format(name=name, since=since)
    (folder / "recon.toml").write_text(text, encoding="utf-8")
    return load(folder / "recon.toml", with_secrets=False)


@cache
def opens(name: str) -> list[tuple[datetime, date]]:
    """Return each open and the session before it that has ended by then, by the book."""
    if name == "okx":
        days = [FIRST - 10 * DAY + n * DAY for n in range(760)]
        return [(datetime(d.year, d.month, d.day, 13, tzinfo=UTC), d - DAY) for d in days]
    calendar = exchange_calendars.get_calendar(name, start="2024-11-01", end="2027-01-31")
    days = [session.date() for session in calendar.sessions]
    cut_offs = [datetime(d.year, d.month, d.day, 20, 20, tzinfo=NEW_YORK) for d in days]
    found = []
    for at in calendar.opens:
        before = [d for d, end in zip(days, cut_offs, strict=True) if end <= at.to_pydatetime()]
        if before:
            found.append((at.to_pydatetime().astimezone(UTC), before[-1]))
    return found


def by_the_book(name: str, now: datetime) -> date:
    return [session for at, session in opens(name) if at - HOUR <= now][-1]


def instants(name: str) -> list[datetime]:
    """Return every sixth hour of two years, and the seconds about each deadline."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    span = (LAST - FIRST).days * 4
    near = [at - HOUR + timedelta(seconds=n) for at, _ in opens(name) for n in (-1, 0, 1)]
    inside = [at for at in near if start <= at <= start + span * DAY / 4]
    return sorted([start + n * 6 * HOUR for n in range(span)] + inside)


@pytest.mark.parametrize("name", ["okx", "XNYS"])
def test_over_two_years_it_is_what_the_calendar_says_open_by_open(
    tmp_path: Path, name: str
) -> None:
    desk = config(tmp_path, name)
    seen = set()
    for now in instants(name):
        [one] = due(desk, now)
        assert one.session == by_the_book(name, now), now
        assert one.needed_by == one.opens_at - HOUR <= now
        seen.add(one.session)
    wanted = {session for at, session in opens(name) if FIRST < at.date() <= LAST}
    assert len(wanted - seen) <= 1, "each session is needed once; the last day ends before its own"
    assert len(seen) > 490


@pytest.mark.parametrize(
    ("now", "session"),
    [
        ("2026-11-23T13:29:59", "2026-11-19"),  # Monday, a second before it is an hour
        ("2026-11-23T13:30:00", "2026-11-20"),  # a Monday's open needs Friday
        ("2026-11-22T20:00:00", "2026-11-19"),  # on the weekend nothing more is needed
        ("2026-11-26T20:00:00", "2026-11-24"),  # Thanksgiving: no open
        ("2026-11-27T13:30:00", "2026-11-25"),
        ("2026-11-30T13:30:00", "2026-11-27"),  # which closed early
        ("2026-03-06T13:30:00", "2026-03-05"),
        ("2026-03-09T12:29:59", "2026-03-05"),  # summer time since Sunday
        ("2026-03-09T12:30:00", "2026-03-06"),
        ("2026-11-02T12:30:00", "2026-10-29"),  # winter time since Sunday
        ("2026-11-02T13:30:00", "2026-10-30"),
        ("2025-01-10T13:30:00", "2025-01-08"),  # after a day of mourning
        ("2026-01-02T13:30:00", "2025-12-31"),
    ],
)
def test_new_york(tmp_path: Path, now: str, session: str) -> None:
    [one] = due(config(tmp_path, "XNYS"), datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert one.session.isoformat() == session


def test_over_a_long_holiday_the_last_session_before_it_stays_needed(tmp_path: Path) -> None:
    desk = config(tmp_path, "XSHG")
    before, after = datetime(2026, 9, 30, 3, tzinfo=UTC), datetime(2026, 10, 8, 0, tzinfo=UTC)
    for day in range((after - before).days):
        [one] = due(desk, before + day * DAY)
        assert one.opens_at.date() in {date(2026, 9, 29), date(2026, 9, 30)}
    [one] = due(desk, after + DAY)
    assert one.session == date(2026, 9, 30)


def test_a_set_hour_for_crypto(tmp_path: Path) -> None:
    desk = config(tmp_path, "okx", more='crypto_opens = "08:00"')
    at = datetime(2026, 3, 8, 7, tzinfo=UTC)
    assert [one.session for one in due(desk, at)] == [date(2026, 3, 7)]
    assert [one.session for one in due(desk, at - timedelta(seconds=1))] == [date(2026, 3, 6)]


def test_an_account_that_begins_later_needs_nothing_yet(tmp_path: Path) -> None:
    monday = datetime(2026, 11, 23, 13, 30, tzinfo=UTC)
    for since, needed in (
        (date(2026, 11, 23), []),
        (date(2026, 11, 21), ["okx"]),  # a Saturday: its first session is Monday's
        (date(2026, 11, 20), ["okx", "XNYS"]),
    ):
        desk = config(tmp_path, "okx", "XNYS", since=since)
        assert [one.account for one in due(desk, monday)] == needed
    assert due(config(tmp_path, "okx", since=date(2999, 1, 1)), monday) == []


def test_a_calendar_that_has_ended_is_said(tmp_path: Path) -> None:
    """Whose holidays are announced a year at a time: nothing would ever be needed again."""
    desk = config(tmp_path, "XSHG")
    until = exchange_calendars.get_calendar("XSHG").bound_max()
    at = until.to_pydatetime().replace(tzinfo=UTC)
    assert due(desk, at - 30 * DAY)
    for later in (10 * DAY, 3 * 366 * DAY):
        with pytest.raises(ConfigError, match="update exchange-calendars"):
            due(desk, at + later)


# --- Nobody is paged in vain ------------------------------------------------------------------


DESKS = [
    ("okx",),
    ("XNYS",),
    ("okx", "XNYS"),
    ("XLON",),  # which opens before IBKR's statement of the day before is there
    ("okx", "XNYS", "XLON"),
    ("okx", "XTKS"),
]
MIDNIGHT = 'crypto_opens = "00:00"'
"""An hour before it, no UTC day has ended that it could need."""


YEARS = [
    (("okx",), MIDNIGHT),
    (("okx", "XNYS", "XLON"), ""),
    *((names, "") for names in DESKS if len(names) < 3),
]


@pytest.mark.parametrize("year", slow_after(2, YEARS), ids=lambda year: "+".join(year[0]))
def test_who_runs_when_it_is_proposed_is_never_paged_in_a_year(
    tmp_path: Path, year: tuple[tuple[str, ...], str]
) -> None:
    """Each night begins at the time that `recon schedule` proposes, and takes 59 minutes."""
    names, more = year
    desk = config(tmp_path, *names, more=more)
    start = datetime(2025, 1, 10, tzinfo=UTC)
    daily = schedule(desk, start).daily
    published = dict.fromkeys(names, start.date() - DAY)
    seen = set()
    for day in range(370):
        begins = datetime.combine(start.date() + day * DAY, daily, UTC)
        ends = begins + timedelta(minutes=59)
        assert missed(due(desk, ends), published) == [], "a second before it is published"
        published = dict.fromkeys(names, plan_of(desk, begins))
        until = {one.needed_by for one in due(desk, begins + DAY) if one.needed_by > ends}
        for now in (ends, *until):
            dues = due(desk, now)
            seen |= set(dues)
            assert missed(dues, published) == [], now
    assert {one.account for one in seen} == set(names)
    assert len(seen) > 240 * len(names)


def plan_of(desk: Config, now: datetime) -> date:
    return make_plan(desk, as_of=None, accounts=(), now=lambda: now, patience=None).as_of


@pytest.mark.parametrize("names", DESKS, ids="+".join)
@given(st.integers(20, 600))
@settings(max_examples=3)
def test_a_night_that_never_ran_is_missed(
    tmp_path_factory: pytest.TempPathFactory, names: tuple[str, ...], day: int
) -> None:
    """Five nightly runs in a row fail to start: each account has missed a deadline afterwards."""
    desk = config(tmp_path_factory.mktemp("desk"), *names)
    daily = schedule(desk, datetime(2025, 1, 2, tzinfo=UTC)).daily
    last = datetime.combine(FIRST + day * DAY, daily, UTC)
    published = dict.fromkeys(names, plan_of(desk, last))
    later = last + 6 * DAY
    assert {one.account for one in missed(due(desk, later), published)} == set(names)
    caught_up = dict.fromkeys(names, plan_of(desk, later))
    assert missed(due(desk, later), caught_up) == []


def test_what_cannot_be_there_in_time_is_needed_an_hour_after_its_run(tmp_path: Path) -> None:
    desk = config(tmp_path, "XLON")
    assert schedule(desk, datetime(2026, 1, 1, tzinfo=UTC)).daily == time(10)
    for now, by in (
        ("2026-01-14T23:00", "2026-01-14T11:00"),  # Wednesday: IBKR's statement comes at 10:00
        ("2026-01-19T23:00", "2026-01-19T07:00"),  # Monday: it has been there since Saturday
    ):
        [one] = due(desk, datetime.fromisoformat(now).replace(tzinfo=UTC))
        assert one.needed_by == datetime.fromisoformat(by).replace(tzinfo=UTC)
    [one] = due(desk, datetime(2026, 1, 14, 10, 59, tzinfo=UTC))
    assert one.opens_at.date() == date(2026, 1, 13), "until then it is the day before"


# --- What is paged ----------------------------------------------------------------------------

NOON = datetime(2026, 5, 14, 12, tzinfo=UTC)
YESTERDAY = date(2026, 5, 13)


def standing(*told: Page) -> list[dict[str, object]]:
    return [one._asdict() for one in told]


def news(desk: Config, now: datetime, published: Mapping[str, date], *told: Page) -> list[Page]:
    return pages(missed(due(desk, now), published), published, standing(*told), desk)


def test_one_page_says_what_was_needed_and_what_to_type(tmp_path: Path) -> None:
    desk = config(tmp_path, "okx")
    assert news(desk, NOON - timedelta(seconds=1), {"okx": YESTERDAY - DAY}) == []
    [page] = news(desk, NOON, {"okx": YESTERDAY - DAY})
    assert (page.key, page.severity, page.resolves) == ("deadline-2026-05-13", "critical", False)
    assert page.title == "recon watch: NOT PUBLISHED 2026-05-13: okx"
    assert page.body.startswith(
        "okx: session 2026-05-13 was needed by 2026-05-14 12:00 UTC, as the account opens at "
        "2026-05-14 13:00 UTC; the last published session is 2026-05-12\n"
    )
    assert f"recon run --config {desk.path}" in page.body
    assert "journalctl -u recon.service" in page.body
    assert news(desk, NOON + 5 * HOUR, {"okx": YESTERDAY - DAY}, page) == [], "it is told"
    [end] = news(desk, NOON, {"okx": YESTERDAY}, page)
    assert (end.key, end.resolves) == (page.key, True)
    assert end.title == "recon watch: published 2026-05-13: okx"


def test_accounts_of_one_session_share_an_incident(tmp_path: Path) -> None:
    desk = config(tmp_path, "okx", "XNYS")
    [crypto] = news(desk, NOON, {"XNYS": YESTERDAY - DAY})
    assert "no session was ever published" in crypto.body
    assert "XNYS" not in crypto.body, "it opens later"
    [both] = news(desk, NOON + HOUR, {"XNYS": YESTERDAY - DAY}, crypto)
    assert both.key == crypto.key
    assert sorted(both.subjects.values()) == ["XNYS", "okx"]
    [one] = news(desk, NOON + HOUR, {"okx": YESTERDAY}, both)
    assert ([*one.subjects.values()], one.resolves) == (["XNYS"], False)
    [end] = news(desk, NOON + HOUR, {"okx": YESTERDAY, "XNYS": YESTERDAY}, both)
    assert end.resolves
    assert end.body == ("okx: published, as of 2026-05-13\nXNYS: published, as of 2026-05-13")


def test_the_deadline_of_an_account_that_is_removed_is_no_longer_watched(tmp_path: Path) -> None:
    [first] = news(config(tmp_path, "okx", "XNYS"), NOON, {"XNYS": YESTERDAY - DAY})
    [end] = news(config(tmp_path, "XNYS"), NOON, {"XNYS": YESTERDAY - DAY}, first)
    assert (end.key, end.resolves) == (first.key, True)
    assert end.title == "recon watch: no longer watched 2026-05-13: okx"
    assert end.body.startswith("okx: no longer watched: ")


def test_the_next_session_has_an_incident_of_its_own(tmp_path: Path) -> None:
    desk = config(tmp_path, "okx")
    [first] = news(desk, NOON, {})
    end, second = news(desk, NOON + DAY, {}, first)
    assert (end.key, end.resolves, end.title) == (
        first.key,
        True,
        "recon watch: over 2026-05-13: okx",
    )
    assert end.body == "okx: 2026-05-14 is missed, too: see its own page"
    assert (second.key, second.resolves) == ("deadline-2026-05-14", False)


def test_two_hundred_accounts_are_one_page_that_fits(tmp_path: Path) -> None:
    late = [Due(f"account-{n}", YESTERDAY, NOON, NOON + HOUR) for n in range(200)]
    [page] = pages(late, {}, [], config(tmp_path, "okx"))
    assert "… and 180 more" in page.body
    assert len(page.subjects) == 200
    assert page.body.endswith("the crontab names"), "what to type is never cut off"


def test_the_default_session_never_goes_back_after_a_holiday(tmp_path: Path) -> None:
    """New York rests on Monday 2026-05-25; its Tuesday ends at 00:20 UTC on Wednesday."""
    desk = config(tmp_path, "okx", "XNYS")
    noon = datetime(2026, 5, 26, 12, tzinfo=UTC)
    days = [plan_of(desk, noon + hours * HOUR) for hours in range(17)]
    assert days == [date(2026, 5, 25)] * 13 + [date(2026, 5, 26)] * 4


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_however_it_goes_what_stands_is_what_is_missed(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[int, bool]]
) -> None:
    """Looks at any hours, with and without runs between: an ended deadline stays ended."""
    desk = config(tmp_path_factory.mktemp("desk"), "okx", "XNYS")
    now, published = NOON, dict.fromkeys(("okx", "XNYS"), YESTERDAY)
    stands: dict[str, Page] = {}
    before: set[str] = set()
    over: set[str] = set()
    for hours, is_run in moves:
        now += hours * HOUR
        if is_run:
            published = dict.fromkeys(published, plan_of(desk, now))
        for page in news(desk, now, published, *stands.values()):
            if page.resolves:
                assert stands.pop(page.key)
            else:
                stands[page.key] = page
        late = missed(due(desk, now), published)
        subjects = {s for page in stands.values() for s in page.subjects}
        assert subjects == {f"deadline {one.account} {one.session}" for one in late}
        assert news(desk, now, published, *stands.values()) == []
        over |= before - subjects
        assert not over & subjects
        before = subjects


def test_reckoner_is_in_order() -> None:
    assert all(
        bisect_right(each, one) == n + 1
        for each in (opens("okx"), opens("XNYS"))
        for n, one in enumerate(each)
    )
