from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from recon.errors import ConfigError
from recon.paging.channels import check_channels, masked, send
from recon.paging.page import MAX_BODY, write_page

TRUTH = {"gross": "1277.00", "fees": "-1650.00", "funding": "0", "other": "0", "net": "-373.00",
         "carried": "0"}  # fmt: skip
SPAN = {"claimed": "1309.00", "truth": TRUTH, "amount": "1682.00", "pct": "450.94"}
CAUSES = [{"cause": "fee_missing", "amount": "1650.00", "trades": 104},
          {"cause": "price", "amount": "32.00", "trades": 1},
          {"cause": "unexplained", "amount": "0", "trades": 0}]  # fmt: skip


def document(status: str = "diverged", bots: int = 1) -> dict[str, Any]:
    return {
        "as_of": "2026-05-14",
        "run": "r1",
        "status": status,
        "accounts": [
            {"account": "okx", "status": "proven", "currency": "USDT", "reasons": []},
            {"account": "ib", "status": "failed", "currency": "USD", "reasons": ["1012: expired"]},
        ],
        "bots": [
            {"bot": f"btc-{n}", "account": "okx", "status": "diverged", "total": SPAN, "day": SPAN,
             "causes": CAUSES, "reasons": []}
            for n in range(bots)
        ]
        + [{"bot": "basket", "account": "ib", "status": "unproven", "reasons": ["no books"]}],
    }  # fmt: skip


def test_a_page_says_what_an_operator_needs() -> None:
    written = write_page(document(), "/etc/recon.toml")
    assert written is not None
    title, body = written
    assert title == "recon 2026-05-14: DIVERGED btc-0"
    for part in (
        "btc-0 (okx) DIVERGED", "claimed 1309.00 USDT", "truth -373.00", "gross 1277.00",
        "fees -1650.00", "funding 0", "net -373.00", "divergence 1682.00 (450.94%)",
        "as of 2026-05-14", "recon run --config /etc/recon.toml --as-of 2026-05-14 --no-fetch",
        "because: fee_missing 1650.00 (104 trades), price 32.00 (1 trade)",
        "recon explain btc-0 --config /etc/recon.toml --as-of 2026-05-14",
        "account ib: FAILED", "1012: expired", "basket: UNPROVEN: no books",
    ):  # fmt: skip
        assert part in body


def test_nobody_is_paged_where_all_agreed() -> None:
    assert write_page(document("agreed"), "recon.toml") is None


def test_what_is_known_is_no_reason_for_a_page_and_is_named_on_another_s() -> None:
    written = write_page(document(bots=2), "recon.toml", {"btc-1"})
    assert written is not None
    title, body = written
    assert title == "recon 2026-05-14: DIVERGED btc-0"
    assert "btc-1 (okx)" not in body
    assert "acknowledged, and no worse: btc-1" in body
    written = write_page(document(), "recon.toml", {"btc-0"})
    assert written is not None
    assert written[0] == "recon 2026-05-14: UNPROVEN ib"
    alone = document() | {"accounts": document()["accounts"][:1], "bots": document()["bots"][:1]}
    assert write_page(alone, "recon.toml", {"btc-0"}) is None
    assert write_page(alone, "recon.toml") is not None


def test_a_page_says_what_of_it_was_signed_off() -> None:
    signed = {"amount": "1600.00", "beyond": "82.00", "as_of": "2026-05-10"}
    known = document()
    known["bots"][0]["signed_off"] = signed
    written = write_page(known, "recon.toml")
    assert written is not None
    assert "of it 1600.00 signed off as of 2026-05-10, 82.00 not" in written[1]


def test_two_hundred_bots_are_one_page_with_the_numbers_first() -> None:
    written = write_page(document(bots=200), "recon.toml")
    assert written is not None
    assert len(written[1]) <= MAX_BODY
    assert written[1].startswith("btc-0 (okx) DIVERGED")
    assert written[1].endswith("(clipped; the whole is in the report)")


class Channel(BaseHTTPRequestHandler):
    received: ClassVar[list[dict[str, Any]]]
    status = 200
    drips = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(json.loads(body))
        self.send_response(self.status)
        self.end_headers()
        while self.drips:
            try:
                self.wfile.write(b".")
                time.sleep(0.05)
            except OSError:
                return

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def channel(**behaviour: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler = type("Behaving", (Channel,), {"received": [], **behaviour})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_port}/canary-token", handler.received  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_page_arrives_as_it_was_written() -> None:
    with channel() as (url, received):
        [result] = send([url], "the title", "the body\nits second line")
    assert result["status"] == "delivered"
    assert [(page["title"], page["message"]) for page in received] == [
        ("the title", "the body\nits second line")
    ]


def test_a_channel_that_fails_does_not_keep_the_others_from_theirs() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused = f"json://127.0.0.1:{closed.getsockname()[1]}/"
        with channel() as (good, received), channel(status=500) as (broken, _):
            results = send([refused, good, broken], "t", "b")
    assert [result["status"] for result in results] == ["failed", "delivered", "failed"]
    assert all(result["reason"] for result in results if result["status"] == "failed")
    assert len(received) == 1


def test_a_channel_that_drips_is_cut_off_at_the_deadline() -> None:
    with channel(drips=True) as (url, _):
        begun = time.monotonic()
        [result] = send([f"{url}?rto=60"], "t", "b", deadline_s=3)
        assert result == {**result, "status": "failed", "reason": "no answer within 3 s"}
        assert time.monotonic() - begun < 20


def test_an_unknown_channel_is_refused_and_its_url_not_shown() -> None:
    with pytest.raises(ConfigError, match=r"no channel like tgarm://") as caught:
        check_channels(["tgarm://canary-token/chat"])
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "tgram://123456789:AAcanary_abcdefghijklmnopqrstuvwxyz12/987654321",
        "json://user:canary@127.0.0.1/",
        "pagerduty://canarycanarycanarycanarycanary12@canarycanary",
    ],
)
def test_a_channel_s_name_hides_its_secret(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert "canary" not in masked(url)
    assert "canary" not in caplog.text


def command_lines() -> str:
    """Return what anybody on this machine can read of every process's arguments."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return "\n".join(lines)


def test_a_secret_is_in_no_process_s_arguments() -> None:
    async def while_sending() -> str:
        with channel(drips=True) as (url, received):
            sending = asyncio.create_task(asyncio.to_thread(send, [url], "t", "b", deadline_s=4))
            while not received:  # noqa: ASYNC110 - filled by a thread
                await asyncio.sleep(0.05)
            listing = command_lines()
            await sending
            return listing

    arguments = asyncio.run(while_sending())
    assert "recon.paging.send" in arguments
    assert "canary" not in arguments
