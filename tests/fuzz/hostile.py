"""Hostile answers, made of good ones: what every fuzzer of a door that speaks HTTP or JSON shares.

A `Spoiling` says what becomes of one answer of a loopback server: of its bytes, of one value in its
JSON, or of its head. The others come as they should.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web
from hypothesis import strategies as st

from recon.core.records import Coverage, Record
from recon.errors import EvidenceError

Items = list[Record | Coverage]
DEEP = 20_000
MAX_SAID = 2_000
VALUES = (
    "null", "true", "false", "[]", "{}", "[[]]", "[null]", '[{"a":[]}]', '{"a":{"b":null}}', "0",
    "-1", "-0", "1.5", "1e5", "1e999999999", "1e-999999999", "NaN", "Infinity", "-Infinity",
    "9" * 5_000, "0." + "1" * 5_000, "12345678901234567890123", '""', '"0"', '"-5"', '"NaN"',
    '"1e999999999"', '"-1e99999"', '"' + "9" * 5_000 + '"', '"1,5"', '"0x10"', '"\\ud83d"',
    '"\\udc00\\ud83d x"', '{"\\ud83d":1}', '"\\u0000"', '"\\u001b[2J"', '"\\u202e"', '"٣"', '"²"',
    '"' + "x" * 70_000 + '"', '{"a":1,"a":2}', '{"\\ud83d":1,"\\\\ud83d":2}', "[" * DEEP,
    "[" * DEEP + "]" * DEEP, '{"a":' * 500 + "1" + "}" * 500, "[" * 63 + "]" * 63, "nul", "'a'",
    "\ufeff1", "[1,]", '"\\x"', "2026-05-14",
)  # fmt: skip
"""JSON texts, and some that are none, to stand in a value's place."""
HEADS = (
    "Date: garbage", "Date: Thu, 14 May 2026 02:00:00 GMT", "Date: Fri, 31 Dec 9999 23:59:59 GMT",
    "Date: Thu, 01 Jan 0001 00:00:00 GMT", "Date: Tue, 99 Abc 2026 99:99:99 GMT", "Date:",
    "Date: Tue, 01 Dec 2026 00:00:00 -0000", "Date: 0\r\nDate: 1", "Date: " + "9" * 5_000,
    "Content-Type: text/html; charset=zlib", "Content-Type: application/json; charset=utf-7",
    "Content-Type: ;;;=", "Content-Type: application/json; charset=" + "x" * 5_000,
    "Content-Encoding: br", "Content-Encoding: gzip", "Content-Encoding: deflate",
    "Content-Encoding: gzip, gzip", "Content-Encoding: zstd", "Content-Encoding: \xff",
    "Transfer-Encoding: gzip", "Content-Length: -1", "Content-Length: 99999999999999999999",
    "Content-Length: 3", "Content-Length: x", "X: " + "y" * 9_000, "X\x00: y", ": y", "X y",
    "\r\n".join(f"X-{n}: y" for n in range(200)), "Set-Cookie: " + "a=b; " * 500,
)  # fmt: skip
"""Header lines that stand in an answer's head, before its length."""
STATUSES = ("200 OK", "200", "204 No Content", "206 Partial", "299 X", "301 Moved", "304 Not",
            "403 No", "429 Slow", "451 No", "500 X", "599 X", "600 X", "99 X", "2000 X", "x",
            "200 " + "x" * 9_000, "100 Continue")  # fmt: skip


@dataclass(frozen=True)
class Spoiling:
    """What becomes of the answer with this number; `seed` chooses where and by what."""

    number: int
    how: Literal["bytes", "value", "head"]
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "chance", random.Random(self.seed))

    chance: random.Random = field(init=False, repr=False, compare=False)

    @property
    def is_noticed(self) -> bool:
        """Whether what has become of the answer cannot be a true answer of another content."""
        return self.how != "value"

    def spoilt(self, body: bytes) -> bytes:
        """Return the raw HTTP answer in place of one with this body."""
        if self.how == "head":
            return self._head(body)
        changed = self._bytes(body) if self.how == "bytes" else self._value(body)
        return head("200 OK", f"Content-Length: {len(changed)}") + changed

    def _bytes(self, body: bytes) -> bytes:
        place = self.chance.randrange(len(body) + 1)
        return self.chance.choice(
            [
                body[:place],
                body[:place] + b"\xff\xfe" + body[place:],
                b"\xef\xbb\xbf" + body,
                body + body,
                body + b"\x00",
                b"",
                body.decode().encode("utf-16"),
                b"<html>" + body,
                body[place:],
            ]
        )

    def _value(self, body: bytes) -> bytes:
        tree = {"top": json.loads(body)}
        holder, name = self.chance.choice([*_places(tree)])
        action = self.chance.choice(["replace"] * 6 + ["remove", "repeat"])
        if action == "replace":
            holder[name] = "@@spoilt@@"
        elif action == "remove" and holder is not tree:
            del holder[name]
        elif isinstance(holder, list):
            holder.insert(name, holder[name])
        text = json.dumps(tree["top"]) if "top" in tree else ""
        return text.replace('"@@spoilt@@"', self.chance.choice(VALUES)).encode()

    def _head(self, body: bytes) -> bytes:
        kind = self.chance.randrange(8)
        length = f"Content-Length: {len(body)}"
        if kind == 0:
            packed = gzip.compress(b" " * 30_000_000 if self.chance.random() < 0.2 else body)
            cut = packed[: self.chance.choice([len(packed), len(packed) // 2, 5])]
            return head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(cut)}") + cut
        if kind == 1:
            packed = zlib.compress(body, wbits=self.chance.choice([15, -15])) + b"more"
            cut = packed[: self.chance.choice([len(packed), -4])]
            return head("200 OK", "Content-Encoding: deflate", f"Content-Length: {len(cut)}") + cut
        if kind == 2:
            sizes = [f"{len(body):x}", "x", "-5", "f" * 5_000, "0", f"{len(body) + 9:x}", ""]
            size = self.chance.choice(sizes).encode()
            end = self.chance.choice([b"\r\n0\r\n\r\n", b"", b"\r\n0\r\nX: " + b"y" * 9_000])
            chunked = head("200 OK", "Transfer-Encoding: chunked")
            return chunked + size + b"\r\n" + body + end
        if kind == 3:
            return head(self.chance.choice(STATUSES), length) + body
        if kind == 4:
            return self.chance.randbytes(self.chance.choice([1, 50, 5_000]))
        return head("200 OK", self.chance.choice(HEADS), length) + body


def spoilings(answers: int) -> st.SearchStrategy[Spoiling]:
    """Give what becomes of one of so many answers."""
    return st.builds(
        Spoiling,
        st.integers(0, answers - 1),
        st.sampled_from(["bytes", "value", "value", "head"]),
        st.integers(0, 2**32),
    )


def head(status: str, *lines: str) -> bytes:
    """Return the head of an answer, after which the connection ends."""
    every = [f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""]
    return "\r\n".join(every).encode("latin-1")


_connections: list[asyncio.Transport] = []
"""What was accepted. A spoilt one ends when its client has read all, which may be never."""


@asynccontextmanager
async def connections_ended() -> AsyncIterator[None]:
    """End what is left of the connections after the block, before their loop ends."""
    try:
        yield
    finally:
        while _connections:
            _connections.pop().abort()
        for _ in range(3):
            await asyncio.sleep(0)


async def served(
    request: web.Request, response: web.StreamResponse, spoiling: Spoiling | None
) -> Any:
    """Return `response`; or send it as it is spoilt in its place, and end the connection."""
    assert request.transport is not None
    _connections.append(request.transport)
    if spoiling is None:
        return response
    assert isinstance(response, web.Response)
    body = response.body if isinstance(response.body, bytes) else b""
    request.transport.write(spoiling.spoilt(body))
    request.transport.close()
    return web.Response()


async def gathered(fetched: AsyncIterator[Record | Coverage]) -> Items:
    """Return what a fetch gives, up to the error that ends it, whose message is short."""
    items: Items = []
    said = "no error"
    try:
        async for item in fetched:
            items.append(item)
    except EvidenceError as error:
        said = str(error)
    assert 0 < len(said) < MAX_SAID
    said.encode()
    return items


def check_sound(
    items: Items, true: Items, *, is_noticed: bool, may_lack: Collection[str] = ()
) -> None:
    """Assert that records are text, and that what is called complete is all true.

    The latter holds where what was spoilt can be noticed; a wrong value in a row is a proof's. Of
    the kinds in `may_lack` some may be missing, which is unknown and never nothing.
    """
    for item in items:
        if isinstance(item, Record):
            json.loads(item.payload)
            (item.id + item.payload).encode()
        else:
            item.reason.encode()
            assert len(item.reason) < MAX_SAID
    if is_noticed:
        for statement in items:
            if isinstance(statement, Coverage) and statement.status == "complete":
                for kind in {kind.partition("/")[0] for kind in statement.kinds}:
                    found, all_true = _of(kind, items), _of(kind, true)
                    assert found == all_true or (kind in may_lack and found < all_true), statement


def _of(kind: str, items: Items) -> set[tuple[str, str]]:
    return {(one.id, one.payload) for one in items if isinstance(one, Record) and one.kind == kind}


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each value of a document as what holds it and its name there."""
    for name in range(len(tree)) if isinstance(tree, list) else list(tree):
        yield tree, name
        if isinstance(tree[name], dict | list):
            yield from _places(tree[name])
