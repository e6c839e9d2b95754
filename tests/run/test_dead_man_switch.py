"""Pings outwards: what arrives at the switch, what is said when nothing does, and what it costs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from datetime import time as at_time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from recon.cli import run_cli
from recon.config.settings import load
from recon.demo.venues.okx_account import OkxAccount
from recon.errors import ConfigError, IdentityError, LockedError
from recon.run.dead_man_switch import address, is_proxied, pinged, unreachable
from recon.system.state_folder import locked_state
from tests.support.fleet import Desk, Trader, serving, write_folder

CANARY = "canary-0f3a"


class Switch(BaseHTTPRequestHandler):
    """A dead-man's switch on 127.0.0.1: keeps what came, and answers as it is told to."""

    received: ClassVar[list[tuple[str, str]]]
    statuses: ClassVar[list[int]] = []
    answer = b"OK"
    location = ""
    behaves = "answers"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        self.received.append((self.path, body))
        if self.behaves == "hangs":
            time.sleep(30)
            return
        if self.behaves == "drips":
            with suppress(OSError):
                while True:
                    self.wfile.write(b"H")
                    time.sleep(0.05)
        self.send_response(self.statuses.pop(0) if self.statuses else 200)
        if self.location:
            self.send_header("Location", self.location)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    do_GET = do_POST  # noqa: N815 - http.server looks for it; a redirect would end there

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def switch(**behaviour: object) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    received: list[tuple[str, str]] = []
    handler = type("Behaving", (Switch,), {"received": received, **behaviour})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{CANARY}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def document(status: str = "agreed", pages: Sequence[str] = ()) -> dict[str, object]:
    return {
        "status": status,
        "as_of": "2026-05-14",
        "pages": [{"page": f"p{n}", "status": each} for n, each in enumerate(pages)],
    }


def run_with(
    url: str | None, ending: dict[str, object] | Exception | None, status: int = 0, **more: float
) -> list[str]:
    """Let a run end with a document or an error; return what was said of its pings."""
    notes: list[str] = []
    with (
        suppress(LockedError, ConfigError, IdentityError, ZeroDivisionError),
        pinged(url, notes.append, **more) as outside,
    ):
        if isinstance(ending, Exception):
            raise ending
        if ending is not None:
            outside.published([ending], status)
    return notes


@pytest.mark.parametrize(
    ("ending", "status", "path", "body"),
    [
        (document(), 0, "", "exit status 0: agreed as of 2026-05-14"),
        (document("diverged", ["delivered"]), 1, "", "exit status 1: diverged as of 2026-05-14"),
        (document("unproven", ["delivered"]), 3, "", "exit status 3: unproven as of 2026-05-14"),
        (document("unproven", ["partial"]), 3, "/fail",
         "exit status 3: not delivered to every channel: p0"),
        (document("diverged", ["failed"]), 1, "/fail",
         "exit status 1: not delivered to every channel: p0"),
        (ConfigError("recon.toml: x: wrong\nand more"), 0, "/fail",
         "exit status 2: recon.toml: x: wrong"),
        (LockedError("another run"), 0, "/fail", "exit status 75: another run"),
        (IdentityError("off by 1"), 0, "/fail", "exit status 70: off by 1"),
        (ZeroDivisionError(f"{CANARY} in a bug's text"), 0, "/fail",
         "exit status 70: ZeroDivisionError"),
        (None, 0, "/fail", "nothing was published"),
    ],
)  # fmt: skip
def test_a_run_is_told_as_it_begins_and_as_it_ends(
    ending: dict[str, object] | Exception | None, status: int, path: str, body: str
) -> None:
    with switch() as (url, received):
        assert run_with(url, ending, status) == []
    assert received == [(f"/{CANARY}/start", ""), (f"/{CANARY}{path}", body)]


def test_what_a_run_raises_goes_on_as_it_was() -> None:
    error = LockedError("another run")
    with switch() as (url, _), pytest.raises(LockedError) as caught, pinged(url, print):
        raise error
    assert caught.value is error


def test_nobody_is_told_where_nobody_asked_for_it() -> None:
    assert run_with(None, document()) == []


def test_a_query_stays_behind_the_path() -> None:
    with switch() as (url, received):
        run_with(f"{url}/?create=1", document())
    assert [path for path, _ in received] == [f"/{CANARY}/start?create=1", f"/{CANARY}?create=1"]


def test_a_ping_is_tried_three_times() -> None:
    with switch(statuses=[503, 429, 200]) as (url, received):
        assert run_with(url, ConfigError("wrong")) == []
    assert [path.rpartition("/")[2] for path, _ in received] == ["start"] * 3 + ["fail"]
    with switch(statuses=[500] * 6) as (url, received):
        notes = run_with(url, document())
    assert notes == [
        "PING NOT SENT: start: HTTP status 500",
        "PING NOT SENT: success: HTTP status 500",
    ]
    assert len(received) == 6


def test_a_redirect_is_not_followed_and_an_unknown_check_is_no_success() -> None:
    with (
        switch() as (elsewhere, strayed),
        switch(statuses=[302, 302], location=elsewhere) as (url, received),
    ):
        notes = run_with(url, document())
    assert strayed == []
    assert len(received) == 2, "what is wrong for good is not tried again"
    assert [note.rpartition(": ")[2] for note in notes] == ["HTTP status 302"] * 2
    with switch(answer=b"OK (not found)") as (url, _):
        assert "there is no such check at that address" in run_with(url, document())[-1]


@pytest.mark.parametrize("behaves", ["hangs", "drips", "refuses"])
def test_a_switch_that_does_not_answer_costs_its_deadline_and_no_more(behaves: str) -> None:
    with switch(behaves=behaves) as (url, received):
        where = url if behaves != "refuses" else f"http://127.0.0.1:9/{CANARY}"
        begun = time.monotonic()
        notes = run_with(where, document(), deadline_s=3.0)
        assert time.monotonic() - begun < 4.0
    assert [note.split(": ")[1] for note in notes] == ["start", "success"]
    assert CANARY not in "".join(notes)
    assert (len(received) == 0) is (behaves == "refuses")


def test_a_host_is_reached_without_a_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    with switch() as (url, received):
        assert unreachable(url) == ""
        assert unreachable(url.replace("http:", "https:"), 5.0).startswith("TLS: ")
        assert not is_proxied(url)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        assert is_proxied(url)
        assert not is_proxied(url.replace("http:", "https:"))
    assert received == [], "a request could be taken for a ping"
    assert unreachable(f"http://127.0.0.1:9/{CANARY}") == "Connection refused"
    with socket.create_server(("127.0.0.1", 0)) as mute:
        begun = time.monotonic()
        assert unreachable(f"https://127.0.0.1:{mute.getsockname()[1]}/{CANARY}", 1.0)
        assert time.monotonic() - begun < 2.0


def test_the_first_ping_is_not_waited_for() -> None:
    with switch(behaves="hangs") as (url, _):
        begun = time.monotonic()
        with pinged(url, lambda _: None, deadline_s=2.0):
            assert time.monotonic() - begun < 0.5


def test_the_address_is_in_no_process_s_arguments() -> None:
    with (
        switch(behaves="hangs") as (url, received),
        pinged(url, lambda _: None, deadline_s=2.0),
    ):
        while not received:
            time.sleep(0.02)
        shown = b""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                shown += path.read_bytes()
    assert b"recon.run.ping_send" in shown
    assert CANARY.encode() not in shown


def secret_in(folder: Path, value: str, mode: int = 0o600) -> Path:
    (folder / "ping").write_text(f"{value}\n", encoding="utf-8")
    (folder / "ping").chmod(mode)
    config = folder / "recon.toml"
    config.write_text('[recon]\nspeed = 3\nping = { file = "ping" }\n', encoding="utf-8")
    return config


def test_the_address_is_found_in_a_configuration_that_is_wrong(tmp_path: Path) -> None:
    assert address(secret_in(tmp_path, "https://hc.test/1")) == "https://hc.test/1"
    assert address(secret_in(tmp_path, "https://hc.test/1", 0o644)) is None
    assert address(secret_in(tmp_path, "hc.test/1")) is None
    assert address(tmp_path / "none.toml") is None
    for text in ("[recon]\n", "recon = 3\n", "[recon", "[recon]\nping = 'https://x'\n"):
        (tmp_path / "recon.toml").write_text(text, encoding="utf-8")
        assert address(tmp_path / "recon.toml") is None


def test_a_secret_that_is_no_address_is_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recon\.ping: the secret is no web address") as caught:
        load(secret_in(tmp_path, f"ftp://{CANARY}/1"))
    assert CANARY not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "recon.toml", with_secrets=False)
    assert "recon.ping" not in str(caught.value)


@pytest.fixture
def night(tmp_path: Path) -> Iterator[tuple[list[str], list[tuple[str, str]], Path]]:
    """Return the arguments of a run without a problem, and the pings that its switch got."""
    yesterday = datetime.combine(datetime.now(UTC).date() - timedelta(days=1), at_time(), UTC)
    book = OkxAccount()
    book.deposit("USDT", "10000", yesterday - timedelta(days=2))
    desk = Desk(since=(yesterday - timedelta(days=3)).date())
    with switch() as (url, received), serving(book, demo=False) as server:
        (tmp_path / "ping").write_text(url, encoding="utf-8")
        (tmp_path / "ping").chmod(0o600)
        path = write_folder(tmp_path, [(desk, server)], [Trader()], 'ping = { file = "ping" }')
        yield ["run", "--config", str(path)], received, tmp_path


def test_a_night_of_the_command_line_is_told_after_its_report_is_written(
    night: tuple[list[str], list[tuple[str, str]], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    typed, received, folder = night

    status = run_cli(typed)

    said = capsys.readouterr()
    assert [path for path, _ in received] == [f"/{CANARY}/start", f"/{CANARY}"], said.err
    assert received[-1][1].startswith(f"exit status {status}: "), said.err
    assert list((folder / "state" / "reports").glob("*.json"))
    assert CANARY not in said.out + said.err


def test_a_night_that_did_not_take_place_is_told(
    night: tuple[list[str], list[tuple[str, str]], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    typed, received, folder = night
    with locked_state(folder / "state"):
        assert run_cli([*typed, "--wait", "0.2"]) == 75
    assert received[-1][0] == f"/{CANARY}/fail"
    assert received[-1][1].startswith("exit status 75: another run holds")
    config = Path(typed[-1])
    config.write_text(config.read_text("utf-8").replace("[recon]", "[recon]\nspeed = 3"), "utf-8")
    assert run_cli(typed) == 2
    assert received[-1][0] == f"/{CANARY}/fail"
    assert "recon.speed: an unknown key" in received[-1][1]
    assert "recon.speed: an unknown key" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["--no-fetch", "--account okx", "--as-of 2026-05-14"])
def test_a_run_that_is_not_the_night_s_tells_nobody(
    night: tuple[list[str], list[tuple[str, str]], Path], part: str
) -> None:
    typed, received, _ = night
    run_cli([*typed, "--no-page", *part.split()])
    assert received == []
