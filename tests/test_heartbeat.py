"""A bot's own side: what it writes, and that it never comes in the bot's way."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import recon.heartbeat
from recon.fetch.heartbeats import parse_beat
from recon.heartbeat import Heartbeat


@pytest.fixture(autouse=True)
def _sockets_as_they_were() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    yield
    socket.setdefaulttimeout(before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "beats" / "btc.json"


def test_a_beat_is_what_the_contract_says(path: Path) -> None:
    heart = Heartbeat(path, "btc")
    bar = datetime(2026, 5, 14, 19, 59, tzinfo=ZoneInfo("America/New_York"))
    before = datetime.now(UTC)
    assert heart.beat(last_bar_at=bar)
    after = datetime.now(UTC)
    said = json.loads(path.read_text())
    assert list(said) == ["bot", "seq", "at", "last_bar_at", "last_loop_ms"]
    beat = parse_beat(path.read_text(), "btc")
    assert (beat.bot, beat.seq, beat.last_bar_at) == ("btc", 1, bar)
    assert before - timedelta(milliseconds=1) <= beat.at <= after
    assert said["last_bar_at"] == "2026-05-14T23:59:00.000Z"
    assert isinstance(said["last_loop_ms"], int)


def test_seq_rises_by_one_and_goes_on_after_a_restart(path: Path) -> None:
    seqs = []
    for _start in range(3):
        heart = Heartbeat(path, "btc")
        for _turn in range(4):
            heart.beat()
            seqs.append(parse_beat(path.read_text(), "btc").seq)
    assert seqs == list(range(1, 13))
    path.write_text('{"seq": "many"}')
    Heartbeat(path, "btc").beat()
    assert parse_beat(path.read_text(), "btc").seq == 1


def test_a_reader_sees_a_whole_beat_or_the_one_before(path: Path) -> None:
    heart = Heartbeat(path, "btc")
    heart.beat()
    is_over = threading.Event()

    def read() -> list[int]:
        seqs = []
        while not is_over.is_set():
            seqs.append(parse_beat(path.read_bytes(), "btc").seq)
        return seqs

    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(read)
        for _turn in range(2000):
            heart.beat()
        is_over.set()
        seqs = seen.result()
    assert seqs == sorted(seqs)
    assert len(set(seqs)) > 1
    assert list(path.parent.iterdir()) == [path]


def test_another_thread_cannot_beat_for_the_loop(path: Path) -> None:
    heart = Heartbeat(path, "btc")
    heart.beat()
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="another thread"):
        pool.submit(heart.beat).result()
    assert parse_beat(path.read_text(), "btc").seq == 1


def test_a_time_without_a_zone_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="has no zone"):
        Heartbeat(path, "btc").beat(last_bar_at=datetime(2026, 5, 14))
    assert not path.exists()


def test_a_beat_that_cannot_be_written_stops_no_bot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    heart = Heartbeat(tmp_path / "file" / "beat.json", "btc")
    with caplog.at_level(logging.WARNING):
        assert not heart.beat()
    assert "not written" in caplog.text


def test_sockets_get_a_timeout_unless_the_bot_says_otherwise(path: Path) -> None:
    socket.setdefaulttimeout(None)
    Heartbeat(path, "btc", socket_timeout_s=None)
    assert socket.getdefaulttimeout() is None
    Heartbeat(path, "btc")
    assert socket.getdefaulttimeout() == recon.heartbeat.SOCKET_TIMEOUT_S
    with socket.create_server(("127.0.0.1", 0)) as mute:
        Heartbeat(path, "btc", socket_timeout_s=0.05)
        with socket.create_connection(mute.getsockname()[:2]) as dead, pytest.raises(TimeoutError):
            dead.recv(1)


def test_the_module_needs_nothing_but_itself(tmp_path: Path) -> None:
    """Copied into a bot by itself, in a Python without any package."""
    shutil.copy(recon.heartbeat.__file__, tmp_path / "heartbeat.py")
    script = (
        "import sys; sys.path.insert(0, '.'); from heartbeat import Heartbeat; "
        "assert Heartbeat('beat.json', 'btc').beat(); "
        "assert not [name for name in sys.modules if name.startswith('recon')]"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert parse_beat((tmp_path / "beat.json").read_text(), "btc").seq == 1


def test_imported_from_recon_it_brings_no_other_module(tmp_path: Path) -> None:
    script = (
        "import sys, recon.heartbeat; "
        "print(sorted(name for name in sys.modules if name.startswith(('recon', 'pydantic'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path(recon.heartbeat.__file__).parents[1])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['recon', 'recon.heartbeat']\n"
