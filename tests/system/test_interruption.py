"""Commands that a signal ends: the exit status, what is left behind, and who hears of it."""

from __future__ import annotations

import random
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as at_time
from pathlib import Path

import pytest

from recon.control.ledger import CONTROL, Ledger
from recon.demo.venues.okx_account import OkxAccount
from recon.errors import Interrupted, exit_status
from recon.system.interruption import asked, heed
from tests.conftest import some_of
from tests.run.test_dead_man_switch import switch
from tests.support.fleet import BTC, ETH, SOL, Desk, Trader, round_trips, serving, write_folder
from tests.support.servers.channels import Receiver, receiver, says
from tests.support.two_nights import left_behind
from tests.warehouse.test_damage import numbers

ROOT = Path(__file__).resolve().parents[2]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
TIMES = re.compile(r'"uTime":"[0-9]+"|"(to|at)": "[^"]+"|"by": "run [^"]+"')
"""What differs from run to run: times, and the run that first saw a break."""
CALL = [sys.executable, "-m", "recon"]


@dataclass
class Night:
    """A state before a night of the command line, and all that the night comes to undisturbed."""

    folder: Path
    work: Path
    pager: Receiver
    pings: list[tuple[str, str]]
    seconds: float
    due: dict[str, str]

    def afresh(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.folder, self.work)
        self.pager.took.clear()
        self.pings.clear()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own, by which its processes are found again."""
        return subprocess.Popen(
            [*CALL, *(words or ("run",)), "--config", str(self.work / "recon.toml")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def interrupted(
        self, number: int, after_s: float, *, again_s: float | None = None
    ) -> tuple[int, str]:
        """Send a night a signal after so long, maybe another one; return its status and stderr."""
        process = self.start()
        time.sleep(after_s)
        process.send_signal(number)
        if again_s is not None:
            time.sleep(again_s)
            process.send_signal(number)
        _, error = process.communicate(timeout=60)
        assert of_session(process.pid) == [], "no process is left over"
        return process.returncode, error


@pytest.fixture(scope="module", autouse=True)
def _signals_are_heeded() -> Iterator[None]:
    """Let no process inherit an ignored SIGINT, as a job in the background of a shell has."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    base = tmp_path_factory.mktemp("interrupted")
    with a_night(base) as given:
        yield given


@contextmanager
def a_night(base: Path) -> Iterator[Night]:
    midnight = datetime.combine(datetime.now(UTC).date(), at_time(), UTC)
    start = midnight - timedelta(days=9)
    book = OkxAccount()
    book.deposit("USDT", "100000", start)
    round_trips(book, 12, start=start)
    with switch() as (url, pings), receiver(says(200)) as pager, serving(book) as server:
        for name, text in (("pager", pager.webhook), ("ping", url)):
            (base / name).write_text(text, encoding="utf-8")
            (base / name).chmod(0o600)
        settings = (
            'ping = { file = "../ping" }\n'
            '[paging]\nchannels = [ { url = { file = "../pager" } } ]\n'
        )
        bots = (Trader(instruments=(BTC, ETH)), Trader(id="sol", instruments=(SOL,)))
        desk = Desk(since=start.date(), more="")
        write_folder(base / "first", [(desk, server)], bots, settings)
        given = Night(base / "first", base / "work", pager, pings, 0.0, {})
        given.afresh()
        begun = time.monotonic()
        process = given.start()
        _, error = process.communicate(timeout=120)
        given.seconds = time.monotonic() - begun
        assert process.returncode == 1, error  # a bot diverged
        given.due = timeless(given.work)
        yield given


def timeless(state: Path) -> dict[str, str]:
    """Return what a night leaves, without the times at which it ran and its venue was asked.

    A night that is run again asks again: a balance of another time is another version.
    """
    left = numbers(left_behind(state))
    left["raw"] = sorted({TIMES.sub("", str((*row[:4], *row[5:]))) for row in left["raw"]})
    return {name: TIMES.sub("", str(value)) for name, value in left.items()}


def of_session(leader: int) -> list[str]:
    """Return the commands of the processes that belong to a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] != "Z":
                found.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except (OSError, ValueError):
            continue
    return found


def assert_whole(night: Night) -> None:
    """See that an interrupted night has left no draft, copy or holder of a lock behind it.

    Its run, where it had begun, is recorded as ended.
    """
    state = night.work / "state"
    assert [*state.glob("scratch/*"), *state.rglob("*.new")] == []
    assert {path.read_bytes() for path in state.glob("*lock")} <= {b""}
    if (state / CONTROL).exists():
        with Ledger(state / CONTROL), closing(sqlite3.connect(state / CONTROL)) as ledger:
            ended = ledger.execute("select ended_at, status, document from runs").fetchall()
        for at, status, document in ended:
            assert at is not None
            assert status == "interrupted" or document is not None


def assert_heard(night: Night, number: signal.Signals) -> None:
    """See that the switch has heard last of an end by a signal, if it has heard anything."""
    if night.pings:
        path, said = night.pings[-1]
        assert path.endswith("/fail"), night.pings
        assert f"exit status {STATUS[number]}: interrupted by {number.name}" in said


def interrupt_and_repeat(night: Night, chance: random.Random, number: signal.Signals) -> None:
    """Interrupt a night at a random instant, then run it again."""
    night.afresh()
    after_s = chance.uniform(0.3, night.seconds)  # the interpreter has begun by then
    again_s = chance.choice([None, 0.0, 0.2])
    status, error = night.interrupted(number, after_s, again_s=again_s)
    said = (number.name, after_s, again_s, night.pings, error)
    if status == 1:  # it had ended before the signal came
        assert night.pings[-1][1].startswith("exit status 1: diverged"), said
    else:
        assert status in {STATUS[number], -number if not night.pings else STATUS[number]}, said
        assert_whole(night)
        assert_heard(night, number)
    process = night.start()
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1, (*said, error)
    assert timeless(night.work) == night.due, said


@pytest.mark.parametrize("number", some_of(1, [*STATUS]))
def test_a_night_interrupted_anywhere_and_run_again_publishes_what_an_undisturbed_one_does(
    night: Night, number: signal.Signals
) -> None:
    interrupt_and_repeat(night, random.Random(), number)


@pytest.mark.slow
@pytest.mark.parametrize("_drawing", range(100))
def test_nights_interrupted_at_many_instants(night: Night, _drawing: int) -> None:
    chance = random.Random()
    interrupt_and_repeat(night, chance, chance.choice(list(STATUS)))


@pytest.mark.parametrize("number", STATUS)
def test_a_watch_ends_between_two_looks_with_the_status_of_its_signal(
    night: Night, number: signal.Signals
) -> None:
    night.afresh()
    process = night.start("watch")
    assert process.stdout is not None
    process.stdout.readline()  # of its first look
    process.send_signal(number)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (STATUS[number], "")
    assert_whole(night)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_backfill_that_a_signal_ends_leaves_a_whole_state(
    night: Night, number: signal.Signals
) -> None:
    night.afresh()
    process = night.start("backfill")
    assert process.stderr is not None
    process.stderr.readline()  # of its first piece
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in {STATUS[number], 0}
    assert_whole(night)
    assert of_session(process.pid) == []


def test_the_demo_ends_with_the_status_of_its_signal(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*CALL, "demo", "--folder", str(tmp_path / "demo")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == STATUS[signal.SIGINT], error
    assert "recon: interrupted by SIGINT" in error


IN_DUCKDB = """
import signal, sys, threading, os, time
from pathlib import Path
from recon.system.interruption import heeding
from recon.system.state_folder import storing
from recon.warehouse.database import Warehouse
def query():
    with storing(Path(".")), Warehouse(Path(":memory:")) as warehouse, warehouse.transaction():
        threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
        try:
            warehouse.rows("select sum(i % 7) from range(10000000000000) t(i)")
        except BaseException as error:
            print(type(error).__name__)
            if sys.argv[1] == "raised":
                raise
with heeding(lambda: None):
    query()
"""


@pytest.mark.parametrize("outcome", ["raised", "swallowed"])
def test_what_duckdb_makes_of_a_signal_is_neither_an_error_nor_committed(outcome: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_DUCKDB, outcome],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout in {"RuntimeError\n", "Interrupted\n"}, done
    ended = [line for line in done.stderr.splitlines() if line.startswith("recon.errors.")]
    assert ended, done
    assert ended[-1].startswith("recon.errors.Interrupted: interrupted by")


STUCK = """
import os, signal, sys, time
import recon.system.interruption
recon.system.interruption.GRACE_S = 0.5
with recon.system.interruption.heeding(lambda: print("children", flush=True)):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    finally:
        time.sleep(60)
"""


def test_a_clean_up_that_never_ends_is_ended() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (STATUS[signal.SIGINT], "children\n")


def test_a_signal_that_is_ignored_stays_so(night: Night) -> None:
    """As under `nohup`: a terminal that is closed ends nothing."""
    night.afresh()
    script = f"trap '' HUP; exec {shlex.join([*CALL, 'watch', '--config'])} {night.work}/recon.toml"
    process = subprocess.Popen(
        ["sh", "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == STATUS[signal.SIGTERM]


def test_the_exit_status_is_that_of_a_shell() -> None:
    assert {number: exit_status(Interrupted(number)) for number in STATUS} == STATUS
    assert exit_status(KeyboardInterrupt()) == STATUS[signal.SIGINT]
    assert asked() == 0
    heed()
