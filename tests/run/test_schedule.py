"""The time of the nightly run, compared with every open of a year."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import exchange_calendars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.commands.schedule import describe
from recon.config.settings import Config, load
from recon.errors import ConfigError
from recon.run.schedule import LEAD, LONGEST_RUN, Opening, best_time, schedule

NEW_YORK = ZoneInfo("America/New_York")
EVE = datetime(2025, 12, 31, 12, tzinfo=UTC)
"""The year ahead of it has both DST days, every holiday and the early closes of 2026."""

OKX = """
[[accounts]]
id = "okx"
venue = "okx"
currency = "USDT"
since = 2025-05-01
api_key = { env = "NOBODY_SET_THIS" }
api_secret = { env = "NOBODY_SET_THIS" }
passphrase = { env = "NOBODY_SET_THIS" }
"""
FLEX = """
[[accounts]]
id = "{0}"
venue = "ibkr-flex"
currency = "USD"
since = 2025-05-01
calendar = "{0}"
files = "statements/*.xml"
"""


def config(folder: Path, *accounts: str, settings: str = "") -> Config:
    path = folder / "recon.toml"
    path.write_text(f"[recon]\n{settings}\n{''.join(accounts)}", encoding="utf-8")
    return load(path, with_secrets=False)


@pytest.fixture
def desk(tmp_path: Path) -> Config:
    return config(tmp_path, OKX, FLEX.format("XNYS"))


@cache
def opens(name: str) -> list[tuple[datetime, datetime]]:
    """Return each open of the year ahead, and 05:00 New York after the session before it."""
    calendar = exchange_calendars.get_calendar(name)
    found = []
    for session in calendar.sessions_in_range("2025-12-31", "2026-12-31"):
        opens_at = calendar.session_open(session).to_pydatetime().astimezone(UTC)
        before = calendar.previous_session(session).date() + timedelta(days=1)
        ready = datetime(before.year, before.month, before.day, 5, tzinfo=NEW_YORK)
        if opens_at > EVE:
            found.append((opens_at, ready.astimezone(UTC)))
    return found


def daily_runs(daily: time) -> list[datetime]:
    first = datetime.combine(date(2025, 12, 20), daily, UTC)
    return [first + timedelta(days=n) for n in range(400)]


def test_an_account_s_opens_are_the_exchange_s_and_its_evidence_is_ibkr_s(desk: Config) -> None:
    told = schedule(desk, EVE).openings["XNYS"]
    expected = opens("XNYS")
    assert [(each.at, each.ready_at) for each in told][: len(expected)] == expected
    assert len({each.at.time() for each in told}) == 2, "both halves of the year are there"
    days = {each.at.date() for each in told}
    assert date(2026, 7, 3) not in days
    assert date(2026, 11, 26) not in days
    assert date(2026, 11, 27) in days, "it closes early, and opens as ever"


@pytest.mark.parametrize("calendars", [("XNYS",), (), ("XNYS", "XTSE")])
def test_what_it_proposes_leaves_an_hour_before_every_open_of_the_year(
    tmp_path: Path, calendars: tuple[str, ...]
) -> None:
    planned = schedule(config(tmp_path, OKX, *map(FLEX.format, calendars)), EVE)
    assert planned.warnings() == []
    runs = daily_runs(planned.daily)
    for name in calendars:
        for opens_at, ready in opens(name):
            assert any(ready <= run <= opens_at - LEAD - LONGEST_RUN for run in runs), opens_at
    for opening in planned.openings["okx"]:
        midnight = opening.at.replace(hour=0)
        assert any(midnight < run <= opening.at - LEAD - LONGEST_RUN for run in runs)


def test_the_samples_run_when_it_proposes(desk: Config) -> None:
    planned = schedule(desk, EVE)
    cron = Path(__file__).resolve().parents[2] / "cron"
    [line] = re.findall(r"(?m)^(\d+ \d+ \* \* \*) ", (cron / "crontab").read_text("utf-8"))
    assert planned.crontab("x") == ("CRON_TZ=UTC", f"{line} x")
    assert f"OnCalendar={planned.on_calendar}\n" in (cron / "recon.timer").read_text("utf-8")


minutes = st.builds(time, st.integers(0, 23), st.integers(0, 59))


@given(minutes, st.sampled_from(["XNYS", "XLON", "XTKS"]))
@settings(max_examples=60)
def test_a_run_is_late_where_none_is_in_time_with_the_evidence(daily: time, name: str) -> None:
    runs = daily_runs(daily)
    for opens_at, ready in opens(name):
        opening = Opening(opens_at, ready, ready.date() - timedelta(days=1))
        fitting = [run for run in runs if ready <= run <= opens_at - LEAD]
        assert opening.is_late(daily) is (not fitting)
        expected = max(fitting) if fitting else min(run for run in runs if run >= ready)
        assert opening.run(daily) == expected


def test_at_the_bound_it_is_in_time() -> None:
    friday, ready = date(2026, 3, 6), datetime(2026, 3, 7, tzinfo=UTC)
    opening = Opening(datetime(2026, 3, 9, 13, 30, tzinfo=UTC), ready, friday)
    near = Opening(opening.at, datetime(2026, 3, 9, 12, 30, tzinfo=UTC), friday)
    assert opening.can_be_kept
    assert near.can_be_kept, "at the bound"
    assert not Opening(near.at, near.ready_at + timedelta(seconds=1), friday).can_be_kept
    assert not near.is_late(time(12, 30))
    assert near.is_late(time(12, 31))
    assert near.is_late(time(12, 29)), "the evidence is not there yet, and tomorrow is too late"
    assert opening.run(time(12, 31)) == datetime(2026, 3, 8, 12, 31, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(60, 2000)), min_size=1, max_size=4))
@settings(max_examples=40)
def test_no_quarter_hour_keeps_more_opens_than_the_best(pairs: list[tuple[int, int]]) -> None:
    ends = [EVE + timedelta(minutes=ready) for ready, _ in pairs]
    openings = [
        Opening(end + timedelta(minutes=after), end, end.date())
        for end, (_, after) in zip(ends, pairs, strict=True)
    ]

    def kept(daily: time) -> int:
        return sum(
            any(one.ready_at <= run <= one.at - LEAD - LONGEST_RUN for run in daily_runs(daily))
            for one in openings
        )

    best = kept(best_time(openings))
    assert all(kept(time(hour, minute)) <= best for hour in range(24) for minute in (0, 15, 30, 45))


def test_an_hour_that_fits_in_winter_alone_is_warned_of(desk: Config) -> None:
    [crypto, equities] = schedule(desk, EVE, time(13, 0)).warnings()
    assert crypto.startswith("okx: the run is too late for ")
    # New York opens at 13:30 UTC from Monday, 9 March on; for that day Sunday's run is in time.
    assert "the first is 2026-03-10 13:30 UTC" in equities
    assert equities.endswith("2026-03-10 13:00 UTC, and the session is needed by 12:30 UTC")


def test_an_exchange_that_opens_before_the_evidence_is_there_is_said(tmp_path: Path) -> None:
    planned = schedule(config(tmp_path, FLEX.format("XLON")), EVE)
    [warning] = planned.warnings()
    assert warning.endswith("as its evidence is served only at 10:00 UTC")
    assert planned.daily == time(10), "late by the least"


def test_crypto_has_a_set_hour(tmp_path: Path) -> None:
    planned = schedule(config(tmp_path, OKX, settings='crypto_opens = "08:00"'), EVE)
    assert planned.daily == time(6)
    [first, *_] = planned.openings["okx"]
    assert first.at == datetime(2026, 1, 1, 8, tzinfo=UTC)
    assert schedule(config(tmp_path, OKX, settings="crypto_opens = 08:00:00"), EVE).daily == time(6)
    for wrong in ('"25:00"', '"08:00+01:00"', '"noon"'):
        with pytest.raises(ConfigError, match=r"recon\.crypto_opens: .*in UTC"):
            config(tmp_path, OKX, settings=f"crypto_opens = {wrong}")


@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 9, 1), timezones=st.just(UTC)), minutes)
@settings(max_examples=30)
def test_the_next_run_is_the_first_one_after_now(now: datetime, daily: time) -> None:
    path = Path("/nowhere/recon.toml")
    planned = schedule(Config.model_construct(path=path, accounts=()), now, daily)
    assert planned.next_run == min(run for run in daily_runs(daily) if run > now)


@pytest.mark.parametrize(
    ("now", "local"),
    [
        ("2026-03-07T12:00", "2026-03-08T07:00:00-04:00"),  # the night in which the clocks change
        ("2026-03-06T12:00", "2026-03-07T06:00:00-05:00"),
        ("2026-10-31T12:00", "2026-11-01T06:00:00-05:00"),
        ("2026-10-31T10:59", "2026-10-31T07:00:00-04:00"),
    ],
)
def test_it_is_told_in_utc_and_in_local_time(desk: Config, now: str, local: str) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    told = describe(schedule(desk, at), "recon run", NEW_YORK)
    assert told["next_run"]["local"] == local
    assert datetime.fromisoformat(told["next_run"]["utc"]) == datetime.fromisoformat(local)
    for account in told["accounts"]:
        assert datetime.fromisoformat(account["opens"]["utc"]) > at
        assert account["late"] is False


def test_over_a_holiday_and_an_early_close_the_open_is_the_next_one(desk: Config) -> None:
    for now, opens_at in (
        ("2026-11-25T20:00", "2026-11-27T14:30"),  # Thanksgiving
        ("2026-11-27T18:30", "2026-11-30T14:30"),  # closed at 18:00 UTC, and not at 21:00
        ("2026-07-02T20:30", "2026-07-06T13:30"),  # Independence Day, observed
    ):
        at = datetime.fromisoformat(now).replace(tzinfo=UTC)
        [opening, *_] = schedule(desk, at).openings["XNYS"]
        assert opening.at == datetime.fromisoformat(opens_at).replace(tzinfo=UTC)


def test_cron_s_own_character_is_escaped(desk: Config) -> None:
    assert schedule(desk, EVE).crontab("recon run --config /a%b")[1].endswith("/a\\%b")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("day", ["2026-03-07", "2026-03-08", "2026-10-31", "2026-11-01"])
def test_systemd_reads_the_timer_s_line_as_it_is_meant(desk: Config, day: str) -> None:
    now = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)
    planned = schedule(desk, now)
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--base-time={day} 12:00:00 UTC", planned.on_calendar],
        env={"TZ": "America/New_York", "LANG": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"(in UTC): {planned.next_run:%a %Y-%m-%d %H:%M:%S} UTC" in done.stdout
