"""A hostile service on 127.0.0.1: whatever it is asked, it answers with secrets, in many ways.

It stands in for a venue, a proxy, a channel, a switch, PostgreSQL and Redis. It knows the secrets
and says them in every encoding, with what the request held.
"""

from __future__ import annotations

import json
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from tests.support.encodings import encodings
from tests.support.servers.channels import Replying, listening

MAX_HEADER = 4000
MAX_MESSAGE = 7000
"""Characters: libpq takes 30,000 bytes for a whole message."""
OURS = ("recon.paging.send", "recon.paging.poll_child", "recon.run.ping_send")
"""The modules that run as child processes."""


@dataclass
class Echo:
    """What is said, and to how many requests; `seen` is where the process list has a secret."""

    secrets: Sequence[str]
    mode: str = "refused"
    venue: str = ""
    requests: int = 0
    seen: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def said(self, asked: str) -> str:
        """Return each secret in every encoding, another one first each time, then the request."""
        with self.lock:
            self.requests += 1
            self._look_at_processes()
            start = self.requests % len(self.secrets)
        every = [*self.secrets[start:], *self.secrets[:start]]
        return " ".join([one for secret in every for one in encodings(secret)] + [asked])

    def _look_at_processes(self) -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                called = (folder / "cmdline").read_bytes()
                self._note("arguments", called)
                if any(module.encode() in called for module in OURS):
                    self._note("environment", (folder / "environ").read_bytes())

    def _note(self, what: str, held: bytes) -> None:
        self.seen |= {f"{what} of a process" for one in self.secrets if one.encode() in held}


class Answer(Replying):
    """One request, answered in the mode of the moment."""

    echo: Echo

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(body)

    def do_GET(self) -> None:
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        said = self.echo.said(f"{self.requestline} {self.headers} {body.decode(errors='replace')}")
        ways: dict[str, Callable[[str], None]] = {
            "refused": self._refused,
            "busy": self._busy,
            "html": self._html,
            "redirect": self._redirect,
            "not_whole": self._not_whole,
            "status_line": self._raw,
            "chunks": self._chunks,
            "cut_off": self._cut_off,
            "headers": self._headers,
            "flex_error": self._flex,
            "tls": self._raw,
            "row": self._row,
        }
        with suppress(OSError):
            ways[self.echo.mode](said)

    def _refused(self, said: str) -> None:
        self.reply(401, _envelope("50113", said))

    def _busy(self, said: str) -> None:
        self.reply(503, _envelope("50001", said))

    def _html(self, said: str) -> None:
        page = f"<html><title>{escape(said)}</title>{said}</html>".encode()
        self.reply(502, page, **{"Content-Type": "text/html"})

    def _redirect(self, said: str) -> None:
        self.reply(302, Location=f"http://127.0.0.1:1/{quote(said)[:MAX_HEADER]}")

    def _not_whole(self, said: str) -> None:
        self.reply(200, {"code": "0", "msg": said, "error": [said], "result": said, "data": said})

    def _raw(self, said: str) -> None:
        self.wfile.write(f"{said[:MAX_HEADER]}\r\n\r\n".encode())
        self.close_connection = True

    def _chunks(self, said: str) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.wfile.write(f"{said[:MAX_HEADER]}\r\n".encode())
        self.close_connection = True

    def _cut_off(self, said: str) -> None:
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999999\r\n\r\n"
        )
        self.wfile.write(head + json.dumps(_envelope("50113", said)).encode())
        self.close_connection = True

    def _headers(self, said: str) -> None:
        value = said[:MAX_HEADER].replace("\r", " ").replace("\n", " ")
        plain = quote(value, safe=" \"'&%+=/")
        self.reply(200, _envelope("0", said), Date=plain, **{"Content-Encoding": plain})

    def _flex(self, said: str) -> None:
        text = (
            "<FlexStatementResponse><Status>Fail</Status><ErrorCode>1012</ErrorCode>"
            f"<ErrorMessage>{escape(said)}</ErrorMessage></FlexStatementResponse>"
        )
        self.reply(200, text.encode(), **{"Content-Type": "text/xml"})

    def _row(self, said: str) -> None:
        """Pass a request on to an honest venue, and put the secrets into every row it gives."""
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        headers["Accept-Encoding"] = "identity"
        try:
            with urlopen(Request(self.echo.venue + self.path, headers=headers)) as answer:
                body = json.load(answer)
        except (HTTPError, ValueError):
            self._refused(said)
            return
        for row in body["data"]:
            if isinstance(row, dict):
                row |= {"note": said, "tag": self.echo.secrets[0]}
        self.reply(200, body)


def _envelope(code: str, said: str) -> dict[str, Any]:
    return {"code": code, "msg": said, "error": [said], "data": []}


class _Database(socketserver.BaseRequestHandler):
    """PostgreSQL that refuses a password, or Redis that refuses a command: and says which."""

    echo: Echo

    def handle(self) -> None:
        with suppress(OSError):
            first = self.request.recv(65536)
            said = self.echo.said("")
            if first.startswith(b"*"):
                self.request.sendall(f"-ERR {said}\r\n".encode())
                return
            while len(first) == len(b"lengthno"):  # asks for encryption
                self.request.sendall(b"N")
                first = self.request.recv(65536)
            said = said[:MAX_MESSAGE]
            parts = {"S": "FATAL", "V": "FATAL", "C": "28P01", "M": said, "D": said, "H": said}
            body = b"".join(f"{code}{text}\0".encode() for code, text in parts.items()) + b"\0"
            self.request.sendall(b"E" + struct.pack("!i", len(body) + 4) + body)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def echoing(echo: Echo) -> Iterator[tuple[int, int]]:
    """Serve until the block ends: the ports for HTTP, and for PostgreSQL and Redis."""
    database = _Server(("127.0.0.1", 0), type("Bound", (_Database,), {"echo": echo}))
    thread = threading.Thread(target=database.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with listening(type("Bound", (Answer,), {"echo": echo})) as port:
            yield port, database.server_address[1]
    finally:
        database.shutdown()
        thread.join()
        database.server_close()
