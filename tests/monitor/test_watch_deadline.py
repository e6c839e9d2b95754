"""The deadline, turn by turn: paged, repeated, told to the end; by a clock of ours, for real."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recon.cli import run_cli
from recon.control.ledger import Ledger
from recon.demo.venues.background import in_background
from recon.demo.venues.channel import Channel
from recon.errors import ExitCode, StateError
from recon.monitor.watch import LONGEST_PAUSE_S, exit_code, stay
from recon.paging.channels import recipients
from recon.paging.delivery import deliver
from tests.conftest import drawn
from tests.support.watching import Desk, beat, configured, publish

ROOT = Path(__file__).resolve().parents[2]
LIVES = int(os.environ.get("RECON_LIVES", "2"))
"""How often a watch is killed before a run publishes, and again afterwards."""
NOON = datetime(2026, 5, 14, 12, tzinfo=UTC)
"""A Thursday, an hour before the hour that is set for crypto; New York's deadline is 12:30."""
SINCE = date(2026, 3, 2)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@pytest.fixture
def channel() -> Iterator[Channel]:
    with in_background(Channel()) as served:
        yield served


@pytest.fixture
def desk(tmp_path: Path, channel: Channel) -> Iterator[Callable[..., Desk]]:
    """Give what makes a desk whose last night published Tuesday: the same ledger each time."""
    (tmp_path / "state").mkdir()
    with Ledger(tmp_path / "control.sqlite") as ledger:
        publish(ledger, date(2026, 5, 12), "okx", "ibkr")

        def made(now: datetime = NOON, **bots: Any) -> Desk:
            here = Desk(configured(tmp_path, (channel.url,), since=SINCE, **bots), ledger)
            here.now = now
            return here

        yield made


def send(here: Desk) -> None:
    """Do what `recon page send` does each minute."""
    watch = here.watch
    deliver(
        watch.config.state, watch.ledger, recipients(watch.config.paging), watch.now, watch.note
    )


def missed(document: dict[str, Any]) -> list[str]:
    return [each["account"] for each in document["deadlines"] if each["is_missed"]]


def test_nothing_published_is_paged_at_the_deadline_and_ends_when_it_is(
    desk: Callable[..., Desk], channel: Channel
) -> None:
    here = desk(NOON - timedelta(seconds=1))
    before = here.look()
    assert (missed(before), before["pages"], exit_code(before)) == ([], [], ExitCode.AGREED)
    document = here.look(timedelta(seconds=1))
    assert missed(document) == ["okx"]
    assert exit_code(document) == ExitCode.DIVERGED
    [page] = document["pages"]
    assert (page["page"], page["status"]) == ("deadline-2026-05-13", "delivered")
    assert [one.title for one in channel.pages] == ["recon watch: NOT PUBLISHED 2026-05-13: okx"]
    assert "opens at 2026-05-14 13:00 UTC; the last published session is 2026-05-12" in (
        channel.pages[0].message
    )
    assert here.look(MINUTE)["pages"] == []
    publish(here.watch.ledger, date(2026, 5, 13), "okx", "ibkr")
    after = here.look(MINUTE)
    assert (missed(after), exit_code(after)) == ([], ExitCode.AGREED)
    assert [page["resolves"] for page in after["pages"]] == [True]
    assert channel.pages[1].title == "recon watch: published 2026-05-13: okx"
    assert here.look(MINUTE)["pages"] == []
    assert len(channel.pages) == 2


def test_it_is_repeated_until_somebody_answers_and_names_who_joined(
    desk: Callable[..., Desk], channel: Channel
) -> None:
    here = desk()
    while here.now < NOON + 61 * MINUTE:
        document = here.look(MINUTE)
        send(here)
    assert missed(document) == ["okx", "ibkr"]
    assert [each.title for each in channel.pages] == [
        "recon watch: NOT PUBLISHED 2026-05-13: okx",  # 12:01
        "recon watch: NOT PUBLISHED 2026-05-13: okx",  # 12:16
        "recon watch: NOT PUBLISHED 2026-05-13: okx, ibkr",  # 12:31, and New York's at 12:30
        "recon watch: NOT PUBLISHED 2026-05-13: okx, ibkr",
        "recon watch: NOT PUBLISHED 2026-05-13: okx, ibkr",
    ]
    here.watch.ledger.acknowledge_page(
        "deadline-2026-05-13", who="anna", user="anna", note="on it", at=here.now
    )
    while here.now < NOON + 180 * MINUTE:
        assert missed(here.look(5 * MINUTE)) == ["okx", "ibkr"]
        send(here)
    assert len(channel.pages) == 5


def test_an_outage_of_three_days_is_one_incident_for_each_account_at_a_time(
    desk: Callable[..., Desk], channel: Channel
) -> None:
    here = desk()
    for _hour in range(3 * 24):
        document = here.look(60 * MINUTE)
        stands = here.watch.ledger.incidents("deadline-")
        about = [account for one in stands for account in one["subjects"].values()]
        assert sorted(about) == sorted(missed(document)), "an earlier one has ended"
    said = [page.title.removeprefix("recon watch: ") for page in channel.pages]
    first = [title for n, title in enumerate(said) if title not in said[:n]]
    assert [title for title in first if title.startswith("over")] == [
        "over 2026-05-13: ibkr",  # crypto's next open was earlier
        "over 2026-05-15: okx",  # on Sunday; New York needs Thursday's until Monday
    ]
    assert {title[14:24] for title in first if title.startswith("NOT")} == {
        f"2026-05-{day}" for day in (13, 14, 15, 16)
    }
    publish(here.watch.ledger, date(2026, 5, 16), "okx", "ibkr")
    ends = here.look(MINUTE)["pages"]
    assert [end["resolves"] for end in ends] == [True, True]
    assert here.watch.ledger.incidents("deadline-") == []


def test_looking_once_each_time_and_staying_are_the_same(
    desk: Callable[..., Desk], channel: Channel
) -> None:
    """What was told is known to the ledger alone: a new process goes on where the last one was."""
    for minute in range(0, 24 * 60, 20):
        if minute == 600:
            publish(desk().watch.ledger, date(2026, 5, 13), "okx", "ibkr")
        desk(NOON + minute * MINUTE).look()
    assert [page.title for page in channel.pages] == [
        "recon watch: NOT PUBLISHED 2026-05-13: okx",
        "recon watch: NOT PUBLISHED 2026-05-13: okx, ibkr",  # told anew, as New York's had passed
        "recon watch: published 2026-05-13: okx, ibkr",
    ]


def test_a_page_of_the_deadline_and_one_of_a_bot_leave_in_one_look(
    desk: Callable[..., Desk], channel: Channel
) -> None:
    here = desk(NOON - 10 * MINUTE, btc={"file": "btc.json", "period_s": 60})
    beat(here.folder / "btc.json", 1, here.now)
    assert here.look()["pages"] == []
    document = here.look(10 * MINUTE)
    assert [page["page"] for page in document["pages"]] == ["deadline-2026-05-13", "heartbeat-btc"]
    assert len(channel.pages) == 2
    beat(here.folder / "btc.json", 2, here.now)
    assert exit_code(here.look()) == ExitCode.DIVERGED, "the bot is well; the deadline is missed"


def test_staying_shows_the_deadline_as_it_is_missed(desk: Callable[..., Desk]) -> None:
    here = desk(NOON - MINUTE)
    pauses: list[float] = []
    shown: list[dict[str, Any]] = []

    def wait(pause_s: float) -> bool:
        pauses.append(pause_s)
        here.now += timedelta(seconds=pause_s)
        return len(pauses) == 12

    stay(here.watch, wait, shown.append)
    assert pauses == [LONGEST_PAUSE_S] * 12, "no bot has a heartbeat"
    assert [missed(document) for document in shown] == [[], ["okx"]], "only what is news"


def test_the_document_says_how_each_account_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(tmp_path, since=datetime.now(UTC).date() - 9 * DAY)
    arguments = ["watch", "--once", "--json", "--config", str(config.path)]
    assert run_cli(arguments) == ExitCode.DIVERGED
    document = json.loads(capsys.readouterr().out)
    assert document["bots"] == []
    [okx, ibkr] = document["deadlines"]
    assert (okx["account"], okx["published"], okx["is_missed"]) == ("okx", None, True)
    assert ibkr["account"] == "ibkr"
    needed_by, opens = (datetime.fromisoformat(okx[name]) for name in ("needed_by", "opens"))
    assert opens - needed_by == timedelta(hours=1)
    assert date.fromisoformat(okx["session"]) == opens.date() - DAY
    with Ledger(config.state / "control.sqlite") as ledger:
        publish(ledger, datetime.now(UTC).date() - DAY, "okx", "ibkr")
    assert run_cli(arguments) == ExitCode.AGREED
    document = json.loads(capsys.readouterr().out)
    assert not missed(document)
    assert all(page["resolves"] for page in document["pages"])
    configured(tmp_path)
    assert run_cli(arguments) == ExitCode.AGREED
    [okx, _] = json.loads(capsys.readouterr().out)["deadlines"]
    assert (okx["session"], okx["needed_by"], okx["is_missed"]) == (None, None, False)


def test_a_person_reads_what_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(tmp_path, since=datetime.now(UTC).date() - 9 * DAY)
    assert run_cli(["watch", "--once", "--config", str(config.path)]) == ExitCode.DIVERGED
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("missed   okx: session ")
    assert first.endswith(", published is none")


def test_a_watch_that_is_killed_at_any_moment_loses_and_doubles_no_page(
    tmp_path: Path, channel: Channel
) -> None:
    quiet = configured(tmp_path)
    begun = time.monotonic()
    kill_after(60, tmp_path, "--once")
    took_s = time.monotonic() - begun
    config = configured(tmp_path, (channel.url,), since=datetime.now(UTC).date() - 9 * DAY)
    assert config.state == quiet.state
    once = ["watch", "--once", "--config", str(config.path)]
    chance = drawn("a watch of deadlines that is killed")
    for expected in (ExitCode.DIVERGED, ExitCode.AGREED):
        for _life in range(LIVES):
            kill_after(chance.uniform(0.5, 1.5) * took_s, tmp_path)
        assert run_cli(once) == expected
        with Ledger(config.state / "control.sqlite") as ledger:
            if expected == ExitCode.DIVERGED:
                publish(ledger, datetime.now(UTC).date() - DAY, "okx", "ibkr")
    assert run_cli(["page", "send", "--config", str(config.path)]) == ExitCode.AGREED
    with closing(sqlite3.connect(config.state / "control.sqlite")) as db:
        said = db.execute("select key, kind, count(*) from messages group by key, kind").fetchall()
        waiting = db.execute("select count(*) from messages where settled_at is null").fetchone()
    assert said
    assert {kind for _, kind, _ in said} == {"page", "resolve"}
    assert {count for _, _, count in said} == {1}
    assert waiting == (0,)
    told = {page.title.removeprefix("recon watch: ").split(" 20")[0] for page in channel.pages}
    assert told - {"over"} == {"NOT PUBLISHED", "published"}, (
        "over: at noon, as the session changes"
    )


def kill_after(seconds: float, folder: Path, *more: str) -> None:
    """Start a watch, and kill it where it has not ended by then."""
    with subprocess.Popen(
        [sys.executable, "-m", "recon", "watch", *more],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as watch:
        try:
            watch.wait(seconds)
        except subprocess.TimeoutExpired:
            watch.kill()


def test_a_watch_ends_once_another_ledger_lies_in_the_place_of_its_own(
    desk: Callable[..., Desk], tmp_path: Path, channel: Channel
) -> None:
    """It would go on in the one that a restore has set aside, where no night is ever told."""
    here = desk()
    here.look()
    with Ledger(tmp_path / "control.sqlite") as ledger:
        ledger.copy_to(tmp_path / "restored.sqlite")
    (tmp_path / "control.sqlite").rename(tmp_path / "aside.sqlite")
    with pytest.raises(StateError, match="start  recon watch  again"):
        here.look(DAY)
    (tmp_path / "restored.sqlite").rename(tmp_path / "control.sqlite")
    with pytest.raises(StateError, match="start  recon watch  again"):
        here.look(DAY)
    assert "2026-05-14" not in "".join(one.title for one in channel.pages)
