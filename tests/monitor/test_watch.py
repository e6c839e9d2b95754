"""The watch, turn by turn: what is paged, when and how often; by a clock of ours, and for real."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import exchange_calendars
import pytest

from recon.cli import run_cli
from recon.control.ledger import Ledger
from recon.demo.venues.background import in_background
from recon.demo.venues.channel import Channel
from recon.errors import ExitCode
from recon.heartbeat import Heartbeat
from recon.monitor.watch import LONGEST_PAUSE_S, exit_code, look_once, stay
from recon.paging.channels import recipients
from recon.paging.delivery import UNDELIVERED, deliver
from tests.conftest import drawn
from tests.support.servers.answering import BotApi, drips, serving
from tests.support.servers.channels import telegram_url
from tests.support.watching import START, Desk, beat, configured

ROOT = Path(__file__).resolve().parents[2]
MINUTE = timedelta(minutes=1)
LIVES = int(os.environ.get("RECON_LIVES", "2"))
"""How often a watch is killed."""
EACH_MINUTE = {"file": "btc.json", "period_s": 60}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """Give what makes a desk: the same ledger each time."""
    (tmp_path / "state").mkdir()
    with Ledger(tmp_path / "control.sqlite") as ledger:
        yield lambda *channels, **bots: Desk(configured(tmp_path, channels, **bots), ledger)


@pytest.fixture
def channel() -> Iterator[Channel]:
    with in_background(Channel()) as served:
        yield served


def kinds(document: dict[str, Any]) -> list[str]:
    return [each["kind"] for each in document["incidents"]]


def test_a_loop_that_hangs_for_18_hours_is_paged_once_and_within_two_periods(
    desk: Callable[..., Desk], channel: Channel
) -> None:
    here = desk(channel.url, btc=EACH_MINUTE)
    path = here.folder / "btc.json"
    for seq in range(5):
        beat(path, seq, here.now)
        assert here.look()["incidents"] == []
        here.now += MINUTE
    hung_at = here.now - MINUTE
    while not channel.pages:
        here.look(MINUTE / 8)
    assert here.now - hung_at <= 2 * MINUTE
    [(title, body)] = channel.pages
    assert title == "recon watch: btc is not alive: btc"
    assert body.startswith("btc: FROZEN: its main loop has not turned since 2026-05-14 09:34:00")
    while here.now < hung_at + timedelta(hours=18):
        assert kinds(here.look(15 * MINUTE)) == ["frozen"]
    assert len(channel.pages) == 1
    beat(path, 5, here.now)
    assert here.look()["incidents"] == []
    assert channel.pages[1].title == "recon watch: btc is alive again: btc"
    assert here.look(MINUTE)["pages"] == []
    assert len(channel.pages) == 2


def test_a_fortnight_of_bots_that_live_has_no_incident_and_no_page(
    desk: Callable[..., Desk],
) -> None:
    """Crypto and New York, from before Thanksgiving to after its early close, each half hour."""
    period_s = 1800
    btc = {"file": "btc.json", "period_s": period_s, "bar_s": period_s}
    here = desk(account="ibkr", btc=btc, spy={**btc, "file": "spy.json"})
    assert [bot.account for bot in here.watch.config.bots] == ["ibkr", "ibkr"]
    closes = exchange_calendars.get_calendar("XNYS").schedule.loc["2026-11-12":"2026-12-05"]
    half = timedelta(seconds=period_s)
    bars = [
        opened.to_pydatetime() + n * half
        for opened, closed in zip(closes["open"], closes["close"], strict=True)
        for n in range(int((closed - opened) / half))
    ]
    assert len(bars) > 150
    here.now = datetime(2026, 11, 20, 0, 5, tzinfo=UTC)
    looks = 0
    while here.now < datetime(2026, 12, 4, tzinfo=UTC):
        newest = max(bar for bar in bars if bar + half <= here.now)
        for bot in ("btc", "spy"):
            beat(here.folder / f"{bot}.json", looks, here.now, newest, bot)
        document = here.look()
        assert (document["incidents"], document["pages"]) == ([], [])
        assert exit_code(document) == ExitCode.AGREED
        here.now += half
        looks += 1
    assert looks == 14 * 48
    assert here.said == []


def test_what_is_known_outlives_the_process(desk: Callable[..., Desk]) -> None:
    """`--once` from cron: each turn knows what the one before has seen, by the ledger alone."""
    beat(desk(btc=EACH_MINUTE).folder / "btc.json", 5, START)
    seqs = [(5, []), (5, []), (5, ["stuck"]), (6, []), (6, []), (6, ["stuck"]), (4, ["regressed"])]
    for minute, (seq, found) in enumerate(seqs):
        here = desk(btc=EACH_MINUTE)
        here.now += minute * MINUTE
        beat(here.folder / "btc.json", seq, here.now)
        assert kinds(here.look()) == found


def test_no_evidence_is_not_alive(desk: Callable[..., Desk]) -> None:
    here = desk(btc=EACH_MINUTE)
    first = here.look()
    [bot] = first["bots"]
    assert (bot["status"], bot["why"], bot["seq"]) == ("unknown", "there is no file btc.json", None)
    assert exit_code(first) == ExitCode.UNPROVEN
    late = here.look(2 * MINUTE)
    assert kinds(late) == ["missing"]
    assert exit_code(late) == ExitCode.DIVERGED
    (here.folder / "btc.json").write_text("{")
    assert kinds(here.look()) == ["unreadable"], "it is the same incident, seen better"
    beat(here.folder / "btc.json", 1, here.now)
    assert exit_code(here.look()) == ExitCode.AGREED


def test_a_page_that_is_not_taken_waits_in_the_outbox(
    desk: Callable[..., Desk], channel: Channel
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    here = desk(f"json://127.0.0.1:{port}/", btc=EACH_MINUTE)
    here.look()
    [lost] = here.look(2 * MINUTE)["pages"]
    assert not lost["resolves"]
    assert "PAGE NOT DELIVERED through webhook 1: " in here.said[0]
    again = desk(channel.url, btc=EACH_MINUTE)
    again.now = here.now
    assert again.look(MINUTE)["pages"] == []
    watch = again.watch
    deliver(
        watch.config.state, watch.ledger, recipients(watch.config.paging), watch.now, watch.note
    )
    assert [page.title for page in channel.pages] == [lost["title"]]


def test_a_recovery_is_told_after_what_it_recovers_from(
    desk: Callable[..., Desk], channel: Channel
) -> None:
    """Killed between the ledger and the page: neither is lost, and their order is kept."""
    here = desk(channel.url, btc=EACH_MINUTE)
    beat(here.folder / "btc.json", 1, here.now)
    here.look()
    known = here.watch.ledger.watched()["btc"]
    from recon.core.liveness import Trouble

    here.watch.ledger.see_beats({"btc": (known, Trouble("frozen", "-"))}, here.now)
    here.watch.ledger.see_beats({"btc": (known, None)}, here.now)
    assert [page["resolves"] for page in here.look()["pages"]] == [False]
    assert [page["resolves"] for page in here.look()["pages"]] == [True]
    assert [page.title.split(": ")[1] for page in channel.pages] == [
        "btc is not alive",
        "btc is alive again",
    ]


def test_two_hundred_bots_of_a_machine_that_died_are_one_page(
    desk: Callable[..., Desk], channel: Channel
) -> None:
    bots = {f"bot-{n}": {"file": f"{n}.json"} for n in range(200)}
    here = desk(channel.url, **bots)
    here.look()
    [page] = here.look(2 * MINUTE)["pages"]
    assert page["page"] == f"heartbeats-{here.now.isoformat()}"
    assert channel.pages[0].title.startswith("recon watch: 200 bots are not alive: bot-0, bot-1,")
    assert "… and 180 more" in channel.pages[0].message
    for n in range(200):
        beat(here.folder / f"{n}.json", 1, here.now, bot=f"bot-{n}")
        if n in {0, 198}:
            assert here.look()["pages"] == [], "not all of them are back"
    [resolved] = here.look()["pages"]
    assert (resolved["page"], resolved["resolves"]) == (page["page"], True)


def test_a_bot_that_is_watched_no_more_is_no_incident(
    desk: Callable[..., Desk], channel: Channel
) -> None:
    here = desk(channel.url, btc={"file": "btc.json"}, eth={"file": "eth.json"})
    here.look()
    assert len(here.look(2 * MINUTE)["incidents"]) == 2
    left = desk(channel.url, btc=None, eth={"file": "eth.json"})
    left.now = here.now
    assert [each["bot"] for each in left.look()["incidents"]] == ["eth"]
    assert list(left.watch.ledger.watched()) == ["eth"]
    beat(left.folder / "eth.json", 1, left.now, bot="eth")
    [page] = left.look()["pages"]
    assert page["resolves"]
    end = channel.pages[1]
    assert end.title == "recon watch: 2 bots are alive again or no longer watched: btc, eth"
    assert "btc: no longer watched from " in end.message
    assert "eth: recovered " in end.message


def test_without_a_channel_it_is_said_once(desk: Callable[..., Desk]) -> None:
    here = desk(btc=EACH_MINUTE)
    here.look()
    here.look(2 * MINUTE)
    here.look(2 * MINUTE)
    assert here.said[0] == ("PAGE NOT DELIVERED: no channel is configured: add [paging] channels")
    assert len(here.said) == 2
    assert "btc is not alive" in (here.folder / "state" / UNDELIVERED).read_text()


def test_staying_looks_eight_times_a_period_until_it_is_told_to_stop(
    desk: Callable[..., Desk],
) -> None:
    here = desk(btc=EACH_MINUTE, eth={"file": "eth.json", "period_s": 3600})
    beat(here.folder / "btc.json", 1, here.now)
    pauses: list[float] = []
    shown: list[dict[str, Any]] = []

    def wait(pause_s: float) -> bool:
        pauses.append(pause_s)
        here.now += timedelta(seconds=pause_s)
        return len(pauses) == 40

    stay(here.watch, wait, shown.append)
    assert pauses == [7.5] * 40
    assert [kinds(document) for document in shown] == [[], ["frozen"]], "only what is news"
    assert desk(eth={"file": "eth.json", "period_s": 3600}).watch.pause_s == LONGEST_PAUSE_S


def test_a_watch_that_stays_hears_an_answer_and_waits_for_none(
    desk: Callable[..., Desk],
) -> None:
    with serving(BotApi()) as bot:
        here = desk(telegram_url(), btc=EACH_MINUTE, base_url=bot.base)
        bot.now = lambda: here.now
        beat(here.folder / "btc.json", 1, here.now)
        looks: list[float] = []
        begun = time.monotonic()

        def wait(pause_s: float) -> bool:
            nonlocal begun
            looks.append(time.monotonic() - begun)
            here.now += timedelta(seconds=pause_s)
            if bot.sent and not bot.updates:
                bot.write("ack on my way", to=bot.page(0))
                bot.faults.append(drips)
            time.sleep(0.2)
            begun = time.monotonic()
            return len(looks) == 200 or bool(bot.replies())

        stay(here.watch, wait, lambda _document: None)
    assert bot.replies() == [
        "recon: acknowledged: heartbeat-btc  recon watch: btc is not alive: btc"
    ]
    assert sorted(looks)[-2] < 1, "but for the one that pages, no look waits"
    [standing] = here.watch.ledger.incidents()
    assert (standing["status"], standing["who"], standing["note"]) == (
        "acknowledged",
        "@anna",
        "on my way",
    )


def test_a_look_that_is_the_only_one_hears_an_answer_too(desk: Callable[..., Desk]) -> None:
    with serving(BotApi()) as bot:
        here = desk(telegram_url(), btc=EACH_MINUTE, base_url=bot.base)
        bot.now = lambda: here.now
        beat(here.folder / "btc.json", 1, here.now)
        for after in (timedelta(), 3 * MINUTE):
            here.now += after
            look_once(here.watch)
        assert bot.asked("getUpdates") == []  # nothing stood unanswered yet
        bot.write("ack", to=bot.page())
        here.now += MINUTE
        look_once(here.watch)
    assert [one["status"] for one in here.watch.ledger.incidents()] == ["acknowledged"]


# --- For real: processes, sockets, signals ----------------------------------------------------

BOT = """
import socket, sys, time
from recon.heartbeat import Heartbeat
heart = Heartbeat("btc.json", "btc", socket_timeout_s=None)
venue = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for turn in range(3):
    heart.beat()
    time.sleep(0.5)
print("blocked", flush=True)
assert venue.recv(1)  # the venue never answers, and nothing says how long to wait
while True:
    heart.beat()
    time.sleep(0.5)
"""


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[list[list[str]]]:
    """Give what systemd hears, on a real socket, as it comes."""
    heard: list[list[str]] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))

        def listen() -> None:
            while said := listening.recv(1000):
                heard.append(said.decode().splitlines())

        thread = threading.Thread(target=listen)
        thread.start()
        yield heard
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(tmp_path / "notify"))
        thread.join()


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def until(is_so: Callable[[], object], limit_s: float = 40) -> None:
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_real_bot_that_hangs_on_a_dead_socket_is_paged_while_its_process_lives(
    tmp_path: Path, channel: Channel, mute: socket.socket, supervisor: list[list[str]]
) -> None:
    configured(tmp_path, (channel.url,), btc={"file": "btc.json", "period_s": 6})
    with (
        ExitStack() as with_venue,
        subprocess.Popen(
            [sys.executable, "-c", BOT, str(mute.getsockname()[1])],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
        ) as bot,
        subprocess.Popen(
            [sys.executable, "-m", "recon", "watch"],
            cwd=tmp_path,
            env=environment(NOTIFY_SOCKET=str(tmp_path / "notify")),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as watch,
    ):
        try:
            venue, _ = mute.accept()
            with_venue.enter_context(venue)
            assert bot.stdout is not None
            assert bot.stdout.readline() == b"blocked\n"
            hung_at = datetime.fromisoformat(json.loads((tmp_path / "btc.json").read_text())["at"])
            until(lambda: channel.pages)
            assert bot.poll() is None, "its process is up, and has been all the time"
            [(opened_at, kind)] = _incidents(tmp_path, "opened_at, kind")
            assert kind == "frozen"
            assert datetime.fromisoformat(opened_at) - hung_at <= timedelta(seconds=2 * 6)
            venue.send(b"!")
            until(lambda: len(channel.pages) == 2)
            assert channel.pages[1].title == "recon watch: btc is alive again: btc"
            watch.send_signal(signal.SIGTERM)
            output, error = watch.communicate(timeout=20)
            assert (watch.returncode, error) == (128 + signal.SIGTERM, "")
            assert [line.split()[0] for line in output.splitlines()][1:3] == ["incident", "page"]
            status = "STATUS=1 bots watched, {} incidents, 0 deadlines missed"
            assert supervisor[0] == ["READY=1", "WATCHDOG=1", status.format(0)]
            assert {tuple(said) for said in supervisor[1:-1]} == {
                ("WATCHDOG=1", status.format(0)),
                ("WATCHDOG=1", status.format(1)),
            }
            assert supervisor[-1] == ["STOPPING=1"]
        finally:
            bot.kill()
            watch.kill()


def _incidents(folder: Path, columns: str) -> list[tuple[Any, ...]]:
    import sqlite3

    with closing(sqlite3.connect(folder / "state" / "control.sqlite")) as db:
        return db.execute(f"select {columns} from watched_incidents order by number").fetchall()


def test_once_ends_with_what_it_found_and_prints_one_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(tmp_path, btc={"file": "btc.json", "period_s": 60})
    arguments = ["watch", "--once", "--json", "--config", str(config.path)]
    assert run_cli(arguments) == ExitCode.UNPROVEN
    heart = Heartbeat(tmp_path / "btc.json", "btc", socket_timeout_s=None)
    heart.beat()
    assert run_cli(arguments) == ExitCode.AGREED
    beat(tmp_path / "btc.json", 9, datetime.now(UTC) - timedelta(hours=18))
    assert run_cli(arguments) == ExitCode.DIVERGED
    Heartbeat(tmp_path / "btc.json", "btc", socket_timeout_s=None).beat()
    assert run_cli(arguments) == ExitCode.AGREED
    decoder, text, documents = json.JSONDecoder(), capsys.readouterr().out, []
    while text.strip():
        document, end = decoder.raw_decode(text)
        documents.append(document)
        text = text[end:].lstrip()
    assert [[bot["status"] for bot in document["bots"]] for document in documents] == [
        ["unknown"],
        ["alive"],
        ["incident"],
        ["alive"],
    ]
    assert [page["resolves"] for document in documents for page in document["pages"]] == [
        False,
        True,
    ]
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_watch_that_is_killed_at_any_moment_loses_no_page_and_doubles_no_incident(
    tmp_path: Path, channel: Channel
) -> None:
    config = configured(tmp_path, (channel.url,), btc={"file": "btc.json", "period_s": 60})
    beat(tmp_path / "btc.json", 9, datetime.now(UTC) - timedelta(hours=18))
    chance = drawn("a watch that is killed")
    for _life in range(LIVES):
        with subprocess.Popen(
            [sys.executable, "-m", "recon", "watch"],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as watch:
            time.sleep(chance.uniform(0.3, 2.5))
            watch.kill()
    assert run_cli(["watch", "--once", "--config", str(config.path)]) == ExitCode.DIVERGED
    assert _incidents(tmp_path, "incident, kind, is_told, is_resolved") == [
        ("heartbeat-btc", "frozen", 1, 0)
    ]
    # what was committed by a watch that was killed before it could send is left to this
    assert run_cli(["page", "send", "--config", str(config.path)]) == ExitCode.AGREED
    assert {page.title for page in channel.pages} == {"recon watch: btc is not alive: btc"}


def test_a_second_watch_says_that_the_first_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from recon.system.state_folder import locked_state

    config = configured(tmp_path, btc={"file": "btc.json"})
    arguments = ["watch", "--once", "--config", str(config.path)]
    with locked_state(config.state, "watch.lock"):
        assert run_cli(arguments) == ExitCode.LOCKED
    with locked_state(config.state):
        assert run_cli(arguments) == ExitCode.UNPROVEN, "a run does not keep the watch from looking"
    assert "another run holds" in capsys.readouterr().err


def test_a_turn_that_hangs_ends_the_process_and_says_where() -> None:
    script = (
        "import time; from recon.monitor.watch import bounded\n"
        "with bounded(5): pass\n"
        "with bounded(0.2): time.sleep(60)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == ExitCode.BUG
    assert "took longer than 0.2 s" in done.stderr
    assert 'File "<string>", line 3' in done.stderr


def test_a_ledger_that_cannot_be_used_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(tmp_path, btc={"file": "btc.json"})
    config.state.mkdir()
    (config.state / "control.sqlite").write_text("no database, and long enough to be one" * 99)
    assert run_cli(["watch", "--once", "--config", str(config.path)]) == ExitCode.UNPROVEN
    assert "no bot is watched until it runs again" in capsys.readouterr().err
