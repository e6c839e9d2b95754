"""Commands that only look, while a run holds the state: they answer, or wait and say for whom."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from recon.cli import run_cli
from recon.errors import ExitCode, LockedError
from recon.system.state_folder import CHUNK, copy_file, locked_state
from recon.warehouse.commit import BACKUPS, WAREHOUSE
from tests.support.fleet import AS_OF, BTC, ETH, NOW, Desk, Trader, account, round_trips, serving
from tests.support.fleet import write_folder as written
from tests.support.killed_run import Death, night_in_a_process
from tests.support.small_disk import bring_back
from tests.support.two_nights import log
from tests.system.test_disk import on_a_full_disk

ROOT = Path(__file__).resolve().parents[2]
SESSION = ["--as-of", AS_OF.isoformat()]
LOOKS = {
    "explain": ["explain", "btc", *SESSION],
    "unowned": ["unowned"],
    "breaks": ["breaks"],
    "audit": ["audit"],
    "known-at": ["run", *SESSION, "--known-at", "2100-01-01T00:00"],
}
OF_THE_WAREHOUSE = ["explain", "unowned"]
UNDER_WAY = """
import sys, time
from pathlib import Path
from recon.control.ledger import CONTROL, Ledger
from recon.warehouse.commit import open_verified
from recon.system.state_folder import CHUNK, copy_file, locked_state
with locked_state(Path(sys.argv[1])) as state, Ledger(state / CONTROL) as ledger:
    with open_verified(state, ledger) as (warehouse, _), warehouse.transaction():
        print("holds", flush=True)
        time.sleep(60)
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a folder in which one night has been done, and backed up."""
    folder = tmp_path_factory.mktemp("read") / "first"
    book = account()
    round_trips(book, 4)
    book.trade(ETH, "buy", 1, 2_000, NOW - timedelta(hours=5))
    with serving(book) as server:
        written(folder, [(Desk(), server)], [Trader(instruments=(BTC,))], "")
        assert night_in_a_process(folder / "recon.toml", NOW) == 0, log(folder)
        yield folder


@pytest.fixture
def folder(first: Path, tmp_path: Path) -> Path:
    return shutil.copytree(first, tmp_path / "work")


@contextmanager
def a_run(state: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the state as a run does: its lock, its control database, its warehouse."""
    call = [sys.executable, "-c", UNDER_WAY, str(state)]
    with subprocess.Popen(call, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        try:
            yield process
        finally:
            process.kill()


def looked(folder: Path, name: str, *more: str) -> int:
    return run_cli([*LOOKS[name], *more, "--json", "--config", str(folder / "recon.toml")])


def test_who_looks_is_answered_while_a_run_holds_the_state(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = folder / "state"
    undisturbed = {name: (looked(folder, name), capsys.readouterr().out) for name in LOOKS}
    assert {status for status, _ in undisturbed.values()} == {0, ExitCode.DIVERGED}
    assert len(json.loads(undisturbed["unowned"][1])["unowned"]) > 0
    with a_run(state):
        for name, (status, out) in undisturbed.items():
            assert looked(folder, name) == status, name
            said = capsys.readouterr()
            assert (said.out, said.err) == (out, ""), name
        assert list((state / "scratch").iterdir()) == []


def test_an_explanation_writes_nothing_to_the_warehouse(folder: Path) -> None:
    path = folder / "state" / WAREHOUSE
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert looked(folder, "explain") == ExitCode.DIVERGED
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert list((folder / "state" / "scratch").iterdir()) == []


def test_an_explanation_reads_what_a_killed_run_has_left_in_the_log(folder: Path) -> None:
    later = NOW + timedelta(days=1)
    shutil.rmtree(folder / "state" / BACKUPS)
    config = folder / "recon.toml"
    assert night_in_a_process(config, later, Death(at_step="checkpoint")) == -9, log(folder)
    wal = folder / "state" / f"{WAREHOUSE}.wal"
    assert wal.exists()
    call = ["explain", "btc", "--as-of", (AS_OF + timedelta(days=1)).isoformat()]
    assert run_cli([*call, "--config", str(config)]) in {0, ExitCode.DIVERGED}
    assert wal.exists()


@pytest.mark.parametrize("name", OF_THE_WAREHOUSE)
@pytest.mark.parametrize("lacks", ["a backup", "a backup of the last commit"])
def test_without_a_backup_of_the_last_commit_a_look_waits_says_for_whom_and_gives_up(
    name: str, lacks: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = folder / "state"
    if lacks == "a backup":
        shutil.rmtree(state / BACKUPS)
    else:
        again = ["run", "--no-fetch", "--no-page", *SESSION]
        assert run_cli([*again, "--config", str(folder / "recon.toml")]) == ExitCode.DIVERGED
        capsys.readouterr()
    with a_run(state) as process:
        assert looked(folder, name, "--wait", "0.3") == ExitCode.LOCKED
    said = capsys.readouterr()
    assert said.out == ""
    waits, gives_up = said.err.splitlines()
    assert waits.startswith("waiting 0.3 s at most for `")
    assert "another run holds" in gives_up
    for line in (waits, gives_up):
        assert f"process {process.pid}, since 2" in line


def test_a_look_that_waits_goes_on_once_the_run_has_ended(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(folder / "state" / BACKUPS)
    with ExitStack() as running:
        running.enter_context(locked_state(folder / "state"))
        done = threading.Timer(0.5, running.pop_all().close)
        done.start()
        assert looked(folder, "unowned") == 0
        done.join()
    assert "waiting 60 s at most" in capsys.readouterr().err


def test_an_order_is_assigned_while_a_run_holds_the_state(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert looked(folder, "unowned") == 0
    [order, *_] = [one["order"] for one in json.loads(capsys.readouterr().out)["unowned"]]
    call = ["assign", order, "--nobody", "--reason", "mine", "--config"]
    with a_run(folder / "state"):
        assert run_cli([*call, str(folder / "recon.toml")]) == 0
        capsys.readouterr()
        assert looked(folder, "unowned") == 0
        assert '"mine"' in capsys.readouterr().out


def test_a_lock_says_who_holds_it_and_forgets_it_at_the_end(tmp_path: Path) -> None:
    with locked_state(tmp_path):
        with pytest.raises(LockedError) as refused, locked_state(tmp_path):
            pass
        assert f"process {os.getpid()}, since " in str(refused.value)
    assert (tmp_path / "lock").read_bytes() == b""
    (tmp_path / "lock").write_bytes(b"\x1b[2J no holder")
    handle = os.open(tmp_path / "lock", os.O_RDWR)

    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(LockedError, match="a process that has not said who it is"):
        locked_state(tmp_path).__enter__()
    os.close(handle)


def test_copies_that_killed_processes_have_left_are_removed(tmp_path: Path) -> None:
    for name, age in (("books-old", 13 * 3600), ("explain-new", 60)):
        left = tmp_path / "scratch" / name
        left.mkdir(parents=True)
        (left / "copy").touch()
        at = left.stat().st_mtime - age
        os.utime(left, (at, at))
    with locked_state(tmp_path):
        assert [one.name for one in (tmp_path / "scratch").iterdir()] == ["explain-new"]


@pytest.mark.parametrize(
    ("words", "statuses"),
    [
        ("explain btc", {3}),
        ("restore --by anna", {3}),
        ("backfill", {3}),
        ("check", {3}),
        ("run --no-fetch --no-page", {3}),
        ("watch --once", {0, 3}),
        ("page send", {0, 3}),
        ("breaks", {0, 3}),
        ("unowned", {0, 3}),
    ],
)
def test_no_command_calls_a_full_disk_a_bug(
    words: str, statuses: set[int], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state = folder / "state"
    done = on_a_full_disk(state, 0, *words.split(), "--config", str(folder / "recon.toml"))
    assert done.returncode in statuses, done
    assert "Traceback" not in done.stderr, done
    if words != "check" and done.returncode == ExitCode.UNPROVEN:
        assert "no space left on " in done.stderr, done
    bring_back(state)
    (state / "log").unlink()
    capfd.readouterr()
    assert looked(folder, "explain") == ExitCode.DIVERGED, capfd.readouterr().err
    assert [*state.glob("scratch/*"), *state.rglob("*.new")] == []


@pytest.mark.parametrize("zeros", [0, CHUNK - 1, CHUNK, 5 * CHUNK])
def test_a_copy_has_the_same_bytes_and_takes_no_space_for_zeros(zeros: int, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for content in (b"", bytes(zeros), b"x" * CHUNK + bytes(zeros) + b"y", b"x" + bytes(zeros)):
        source.write_bytes(content)
        target.write_bytes(b"longer than that" * CHUNK)
        copy_file(source, target)
        assert target.read_bytes() == content
    source.write_bytes(bytes(100 * CHUNK))
    copy_file(source, target)
    assert target.stat().st_blocks * 512 < CHUNK
