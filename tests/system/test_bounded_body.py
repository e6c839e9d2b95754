"""Bodies of HTTP answers: whole, decompressed and bounded, or an error."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import pytest
from multidict import CIMultiDict

from recon.system.bounded_body import CHUNK_BYTES, BodyError, BodyTooLong, bounded_body

BODY = b'{"code":"0"}' * 1_000
BOMB = gzip.compress(b" " * 50_000_000)


class Answer:
    """An answer as aiohttp gives it, in chunks."""

    def __init__(self, wire: bytes, *encodings: str) -> None:
        self.headers = CIMultiDict([("content-encoding", one) for one in encodings])
        self.content = self
        self.wire = wire

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(self.wire), size):
            yield self.wire[start : start + size]


def read(answer: Answer, most_bytes: int = 100_000) -> bytes:
    return asyncio.run(bounded_body(answer, most_bytes))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(BODY),
        Answer(BODY, "identity"),
        Answer(gzip.compress(BODY), "gzip"),
        Answer(zlib.compress(BODY), "deflate"),
        Answer(zlib.compress(BODY, wbits=-15), "Deflate"),
    ],
)
def test_a_body_comes_back_as_it_was(answer: Answer) -> None:
    assert read(answer) == BODY
    assert read(answer, len(BODY)) == BODY
    with pytest.raises(BodyTooLong, match=f"more than {len(BODY) - 1} bytes"):
        read(answer, len(BODY) - 1)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(BODY, "br"), "encoding 'br'"),
        (Answer(gzip.compress(gzip.compress(BODY)), "gzip", "gzip"), "encoding 'gzip, gzip'"),
        (Answer(BODY, "gzip"), "cannot be decompressed"),
        (Answer(gzip.compress(BODY)[:-5], "gzip"), "cut off"),
        (Answer(gzip.compress(BODY) + b"x", "gzip"), "something after it"),
    ],
)
def test_a_body_that_is_none_is_an_error(answer: Answer, says: str) -> None:
    with pytest.raises(BodyError, match=says):
        read(answer)


def test_a_bomb_fills_no_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLong):
            read(Answer(BOMB, "gzip"))
        assert tracemalloc.get_traced_memory()[1] < 100_000 * 5 + CHUNK_BYTES * 4
    finally:
        tracemalloc.stop()
