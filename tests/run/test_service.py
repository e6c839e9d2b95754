"""The nightly run: missed sessions, backups, and pages of runs that fail."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recon.cli import run_cli
from recon.config.settings import load
from recon.control.expected_sessions import sessions_after
from recon.control.ledger import CONTROL
from recon.core.calendars import Calendar, TradeDates, UtcDays
from recon.core.page import FAILED
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_server import OkxServer
from recon.errors import ExitCode, IdentityError
from recon.run import service
from recon.run.backup import KEPT, backups
from recon.run.check import _check_state
from recon.run.nightly import Night, run_night
from recon.run.service import Done, due, nightly
from recon.warehouse.commit import BACKUPS, PUBLISHED
from tests.support.fleet import (
    AS_OF,
    NOW,
    QUICK,
    SINCE,
    Desk,
    Trader,
    account,
    figures,
    round_trips,
    run,
    serving,
    write_folder,
)
from tests.support.servers.channels import receiver, says

DAY = timedelta(days=1)
STATEMENTS = """
[[accounts]]
id = "ib"
venue = "ibkr-flex"
mode = "paper"
currency = "USD"
since = 2026-01-02
files = "none/*.xml"
"""


def folder_of(tmp_path: Path, server: OkxServer, settings: str = "") -> Path:
    return write_folder(tmp_path, [(Desk(), server)], (Trader(),), settings)


def night(path: Path, now: datetime = NOW) -> Night:
    return Night(load(path), now=lambda: now, patience=QUICK)


def told(tmp_path: Path) -> list[tuple[str, bool]]:
    """Return every session that was expected, and whether a run has published it."""
    with closing(sqlite3.connect(tmp_path / "state" / CONTROL)) as ledger:
        return ledger.execute(
            "select session, run is not null from sessions order by session"
        ).fetchall()


def traded_account() -> OkxAccount:
    book = account()
    round_trips(book, 20)
    return book


@pytest.fixture
def traded() -> OkxAccount:
    return traded_account()


@pytest.fixture(scope="module")
def three_days_ago(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which the last night was three days ago; each test copies it."""
    folder = tmp_path_factory.mktemp("three-days-ago")
    with serving(traded_account()) as server:
        [document] = nightly(night(folder_of(folder, server), NOW - 3 * DAY)).documents
    assert document["as_of"] == "2026-05-11"
    return folder


def test_three_days_that_were_missed_are_caught_up_each_once(
    traded: OkxAccount, three_days_ago: Path, tmp_path: Path
) -> None:
    for name in ("out", "daily"):
        shutil.copytree(three_days_ago, tmp_path / name)
    with serving(traded) as server:
        path = folder_of(tmp_path / "out", server)
        done = nightly(night(path))
        daily = folder_of(tmp_path / "daily", server)
        each_night = [nightly(night(daily, NOW - n * DAY)).documents for n in range(2, -1, -1)]
        again = nightly(night(path))
    days = [f"2026-05-{day}" for day in range(12, 15)]
    assert [document["as_of"] for document in done.documents] == days
    assert [figures(document) for document in done.documents] == [
        figures(document) for [document] in each_night
    ]
    assert {account["status"] for one in done.documents for account in one["accounts"]} == {
        "proven"
    }
    assert told(tmp_path / "out") == [("2026-05-11", True), *((day, True) for day in days)]
    assert [document["as_of"] for document in again.documents] == ["2026-05-14"]
    assert told(tmp_path / "out") == [("2026-05-11", True), *((day, True) for day in days)]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2026, 3, 1), date(2026, 3, 20)),  # clocks go forward in New York on the 8th
        (date(2026, 10, 25), date(2026, 11, 10)),  # and back on 1 November
        (date(2026, 11, 20), date(2026, 12, 31)),  # Thanksgiving, early closes, Christmas
        (date(2024, 2, 20), date(2024, 3, 5)),  # 29 February
    ],
)
def test_every_session_is_expected_once_however_the_nights_fall(first: date, last: date) -> None:
    """Random runs and outages, compared with a list of all sessions of the accounts."""
    trades, always = TradeDates("XNYS"), UtcDays()
    together: list[list[Calendar]] = [[trades], [always], [trades, always]]
    for calendars in together:
        every = [
            day
            for day in (first + timedelta(days=n) for n in range((last - first).days + 1))
            if any(each.session(day).date == day for each in calendars)
        ]
        chance = random.Random(f"{first} {len(calendars)}")
        expected = [every[0]]
        while expected[-1] != every[-1]:
            through = min(last, expected[-1] + timedelta(days=chance.randint(0, 6)))
            expected += sessions_after(expected[-1], through, calendars)
        assert expected == every
    assert list(sessions_after(None, last, [always])) == [last]


def test_of_an_exchange_and_crypto_each_night_is_due_for_the_day_that_both_have_ended(
    traded: OkxAccount, tmp_path: Path
) -> None:
    """Over the weekend with 8 March 2026, at 11:00 UTC: the exchange has no session, crypto has."""
    with serving(traded) as server:
        path = folder_of(tmp_path, server)
    text = path.read_text().replace(f"since = {SINCE}", "since = 2026-03-01")
    path.write_text(text + STATEMENTS)
    config = load(path)
    found = [
        due(config, lambda at=at: at)  # type: ignore[misc]
        for at in (datetime(2026, 3, day, 11, tzinfo=UTC) for day in (6, 7, 8, 9, 10))
    ]
    assert [days[-1] for days in found] == [date(2026, 3, day) for day in (5, 6, 7, 8, 9)]
    assert found[-1] == [date(2026, 3, day) for day in (5, 6, 7, 8, 9)]  # none was published


def test_an_account_is_caught_up_from_its_since_on(
    traded: OkxAccount, three_days_ago: Path, tmp_path: Path
) -> None:
    """An account that came later has no night before its since; one that is older has."""
    shutil.copytree(three_days_ago, tmp_path, dirs_exist_ok=True)
    with serving(traded) as server:
        desks = [(Desk(), server), (Desk("young", since=AS_OF), server)]
        done = nightly(night(write_folder(tmp_path, desks, (Trader(),), "")))
        assert [[one["account"] for one in each["accounts"]] for each in done.documents] == [
            ["okx"],
            ["okx"],
            ["okx", "young"],
        ]
        assert all(is_told for _, is_told in told(tmp_path))
        later = [(Desk(since=AS_OF + DAY), server)]
        moved = night(write_folder(tmp_path, later, (Trader(),), ""), NOW + 3 * DAY)
        assert [str(day) for day in due(moved.config, moved.now)] == [
            "2026-05-15",
            "2026-05-16",
            "2026-05-17",
        ]
        youngest = [(Desk(since=AS_OF + 3 * DAY), server)]
        moved = night(write_folder(tmp_path, youngest, (Trader(),), ""), NOW + 3 * DAY)
        assert [str(day) for day in due(moved.config, moved.now)] == ["2026-05-17"]


def test_a_session_that_fails_stays_due_and_the_later_ones_are_told(
    traded: OkxAccount, three_days_ago: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(three_days_ago, tmp_path, dirs_exist_ok=True)

    def fails_on_the_12th(asked: Night) -> dict[str, Any]:
        if asked.as_of == date(2026, 5, 12):
            raise IdentityError("an audit found a row")
        return run_night(asked)

    with serving(traded) as server:
        path = folder_of(tmp_path, server)
        with monkeypatch.context() as patched:
            patched.setattr(service, "run_night", fails_on_the_12th)
            with pytest.raises(IdentityError):
                nightly(night(path))
        assert told(tmp_path)[-3:] == [
            ("2026-05-12", False),
            ("2026-05-13", True),
            ("2026-05-14", True),
        ]
        with duckdb.connect(str(tmp_path / "state" / PUBLISHED), read_only=True) as published:
            assert published.execute("select as_of from reports").fetchall() == [("2026-05-14",)]
        done = nightly(night(path))
    assert [document["as_of"] for document in done.documents] == ["2026-05-12", "2026-05-14"]
    assert all(is_told for _, is_told in told(tmp_path))
    with duckdb.connect(str(tmp_path / "state" / PUBLISHED), read_only=True) as published:
        assert published.execute("select as_of from reports").fetchall() == [("2026-05-14",)]


def test_what_is_published_adds_up_to_what_is_told(traded: OkxAccount, tmp_path: Path) -> None:
    with serving(traded) as server:
        [document] = nightly(night(folder_of(tmp_path, server))).documents
        older = run(tmp_path, server, as_of=AS_OF - 3 * DAY)
        assert older["as_of"] == "2026-05-11"
    with duckdb.connect(str(tmp_path / "state" / PUBLISHED), read_only=True) as published:
        [[as_of]] = published.execute("select as_of from reports").fetchall()
        sums = published.execute(
            "select scope, bot, sum(net), sum(open_costs) from sessions group by all order by all"
        ).fetchall()
    assert as_of == "2026-05-14"  # an earlier session, told again, is not what readers get
    [entry], [bot] = document["accounts"], document["bots"]
    assert sums == [
        ("account", None, Decimal(entry["window"]["net"]), Decimal(entry["window"]["open_costs"])),
        (
            "bot",
            "btc",
            Decimal(bot["window"]["broker"]["net"]),
            Decimal(bot["window"]["broker"]["open_costs"]),
        ),
    ]


def test_a_check_says_what_is_published_backed_up_and_missed(
    traded: OkxAccount, tmp_path: Path
) -> None:
    with serving(traded) as server:
        path = folder_of(tmp_path, server)
        config = load(path)
        assert _check_state(config) == []
        nightly(night(path, NOW - 2 * DAY))
        due(config, lambda: NOW)
    [item] = _check_state(config)
    assert item.is_ok
    assert item.detail == "published as of 2026-05-12, 1 backups, the last as of 2026-05-12"
    assert item.notes == (
        "missed sessions: 2026-05-13, 2026-05-14: the next nightly run catches up",
    )
    shutil.rmtree(tmp_path / "state" / BACKUPS)
    assert not _check_state(config)[0].is_ok
    (tmp_path / "state" / CONTROL).write_bytes(b"no ledger" * 1000)
    assert "damaged" in _check_state(config)[0].detail


def test_fourteen_backups_are_kept_one_a_session(traded: OkxAccount, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving(traded) as server:
        path = folder_of(tmp_path, server)
        nightly(night(path))
        [first] = backups(state)
        for day in range(1, 18):  # older ones, by their names: a run takes seconds
            older = f"2026-04-{day:02}-run"
            copy = state / BACKUPS / older
            copy.mkdir()
            said = (state / BACKUPS / first["backup"] / "manifest.json").read_text()
            (copy / "manifest.json").write_text(said.replace("2026-05-14", f"2026-04-{day:02}"))
        nightly(night(path))
    kept = [one["as_of"] for one in backups(state)]
    assert kept == ["2026-05-14", *(f"2026-04-{day:02}" for day in range(17, 4, -1))]
    assert len(kept) == KEPT
    assert first["backup"] not in [one["backup"] for one in backups(state)]


def cron(path: Path, capfd: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    """Call `recon run` as cron does; return its status and what it said on stderr."""
    status = run_cli(["run", "--config", str(path), *more])
    return status, capfd.readouterr().err


@pytest.mark.parametrize(
    ("breaks", "status", "says_so"),
    [
        (
            lambda path: path.write_text(path.read_text() + "\n[unknown]\nkey = 1\n"),
            ExitCode.USAGE,
            "an unknown key",
        ),
        (
            lambda path: path.write_text(
                path.read_text().replace(
                    "channels = [",
                    'channels = [ { url = { file = "bad" } }, { url = { file = "none" } },',
                )
            ),
            ExitCode.USAGE,
            "paging.channels",
        ),
        (lambda path: (path.parent / "okx.api_key").unlink(), ExitCode.USAGE, "the secret file"),
        (lambda path: (path.parent / "state").write_text("no folder"), ExitCode.USAGE, "state"),
    ],
)
def test_a_run_that_cannot_begin_is_paged(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    breaks: Any,
    status: int,
    says_so: str,
) -> None:
    with serving(account()) as server, receiver(says(200)) as pager:
        channels = '[paging]\nchannels = [ { url = { file = "pager" } } ]\n'
        path = folder_of(tmp_path, server, channels)
        (tmp_path / "pager").write_text(pager.webhook)
        (tmp_path / "pager").chmod(0o600)
        (tmp_path / "bad").write_text("nosuchservice://canary")
        (tmp_path / "bad").chmod(0o600)
        breaks(path)
        assert cron(path, capfd, "--no-page")[0] == status
        assert pager.took == []
        ended, said = cron(path, capfd)
    assert ended == status
    assert says_so in said
    [page] = pager.took
    assert page["key"] == FAILED
    assert says_so in page["message"]
    assert "canary" not in said + page["message"]


def test_a_bug_is_paged_by_its_kind_alone_and_ends_with_the_next_good_night(
    traded: OkxAccount,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bug(_: Night) -> Done:
        raise KeyError("s3cret")

    with serving(traded) as server, receiver(says(200)) as pager:
        channels = '[paging]\nchannels = [ { url = { file = "pager" } } ]\n'
        path = folder_of(tmp_path, server, channels)
        (tmp_path / "pager").write_text(pager.webhook)
        (tmp_path / "pager").chmod(0o600)
        nightly(night(path))
        pager.took.clear()
        with monkeypatch.context() as patched:
            patched.setattr(service, "nightly", bug)
            assert cron(path, capfd)[0] == ExitCode.BUG
            assert cron(path, capfd)[0] == ExitCode.BUG
        [page] = [one for one in pager.took if one["key"] == FAILED]
        assert page["action"] == "trigger"
        assert "KeyError" in page["title"]
        assert "s3cret" not in page["title"] + page["message"]
        nightly(night(path))
        assert (FAILED, "resolve") in [(one["key"], one["action"]) for one in pager.took]


def test_a_night_without_a_backup_says_so_and_pages(
    traded: OkxAccount, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(traded) as server, receiver(says(200)) as pager:
        channels = '[paging]\nchannels = [ { url = { file = "pager" } } ]\n'
        path = folder_of(tmp_path, server, channels)
        (tmp_path / "pager").write_text(pager.webhook)
        (tmp_path / "pager").chmod(0o600)
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / BACKUPS).write_text("in the way")
        ended, said = cron(path, capfd)
    assert "NO BACKUP" in said
    assert FAILED in {one["key"] for one in pager.took}
    assert ended == ExitCode.UNPROVEN, "also where a bot diverged"
    assert list((tmp_path / "state" / "reports").glob("*.json"))
