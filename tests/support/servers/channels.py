"""Where pages go, on 127.0.0.1: servers that take them, and servers that only seem to."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote

TOKEN = "123456789:AAcanary_abcdefghijklmnopqrstuvwxyz12"
ROUTING = "canary0canary0canary0canary0cana"


class Replying(BaseHTTPRequestHandler):
    """What answers one request: with JSON, with bytes as they are, or with nothing."""

    def reply(self, status: int, said: Any = None, **headers: str) -> None:
        is_json = said is not None and not isinstance(said, bytes)
        body = json.dumps(said).encode() if is_json else said or b""
        with suppress(OSError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(handler: type[Replying]) -> Iterator[int]:
    """Answer on 127.0.0.1, each request in a thread of its own, until the block ends: the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Answer(Replying):
    """One request: noted, then answered as the receiver is told to behave."""

    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_json = self.headers.get("Content-Type", "").startswith("application/json")
        self.receiver.behave(self, json.loads(body) if is_json else dict(parse_qsl(body.decode())))

    def do_GET(self) -> None:
        self.receiver.gets += 1
        self.reply(200, {"ok": True})


Behaviour = Callable[[Answer, dict[str, Any]], None]


@dataclass
class Receiver:
    """A server: what it took, how often it was only looked at, and how it behaves."""

    answer: Behaviour
    took: list[dict[str, Any]] = field(default_factory=list)
    gets: int = 0
    port: int = 0

    def behave(self, handler: Answer, posted: dict[str, Any]) -> None:
        self.took.append(posted)
        self.answer(handler, posted)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def webhook(self) -> str:
        return f"json://127.0.0.1:{self.port}/canary-token"


@contextmanager
def receiver(answer: Behaviour) -> Iterator[Receiver]:
    """Serve until the block ends."""
    made = Receiver(answer)
    with listening(type("Bound", (Answer,), {"receiver": made})) as made.port:
        yield made


def says(status: int, said: Any = None) -> Behaviour:
    """Answer so, whatever comes."""
    return lambda handler, _posted: handler.reply(status, said)


def telegram(handler: Answer, posted: dict[str, Any]) -> None:
    """Be the Bot API: refuse what is too long, in its own way, with HTTP 200 where it likes."""
    is_short = len(posted["text"].encode("utf-16-le")) // 2 <= 4096
    handler.reply(200 if is_short else 400, {"ok": is_short})


def pagerduty(handler: Answer, posted: dict[str, Any]) -> None:
    """Be Events v2."""
    key, summary = posted["dedup_key"], posted["payload"]["summary"]
    if len(summary) > 1024:
        handler.reply(400, {"status": "invalid event"})
    else:
        handler.reply(202, {"status": "success", "dedup_key": key})


def redirects(handler: Answer, _posted: dict[str, Any]) -> None:
    """Send the caller on to a page that would answer 200."""
    handler.reply(302, None, Location="/elsewhere")


def drips(handler: Answer, _posted: dict[str, Any]) -> None:
    """Answer 200, and never end."""
    with suppress(OSError):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(600):
            handler.wfile.write(b".")
            time.sleep(0.05)


def hangs(handler: Answer, _posted: dict[str, Any]) -> None:
    """Say nothing for longer than anybody waits."""
    time.sleep(20)
    handler.close_connection = True


def loses_the_reply(handler: Answer, _posted: dict[str, Any]) -> None:
    """Take the page, and close the connection without a word."""
    handler.close_connection = True


def flaky(seed: int, errors: float = 0.15, lost: float = 0.10) -> Behaviour:
    """Fail so often with 500, and take so many without a word; what fails has not been taken."""
    chance = random.Random(seed)

    def answer(handler: Answer, posted: dict[str, Any]) -> None:
        drawn = chance.random()
        if drawn < errors:
            posted["refused"] = True
            handler.reply(500)
        elif drawn < errors + lost:
            loses_the_reply(handler, posted)
        else:
            handler.reply(200)

    return answer


def telegram_url(chats: str = "987654321") -> str:
    return f"tgram://{quote(TOKEN)}/{chats}/"


def pagerduty_url() -> str:
    return f"pagerduty://{ROUTING}@apikey/desk/"
