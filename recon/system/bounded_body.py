"""The body of an HTTP answer, read within a limit: on the wire and decompressed alike.

A session that reads through this one is opened with `auto_decompress=False`: aiohttp would unpack
what it has received at once, and a compressed body may be a thousand times as long as it seems.
"""

from __future__ import annotations

import zlib
from typing import Any, Protocol

from recon.outside_text import excerpt

CHUNK_BYTES = 64 * 1024
_ANY_HEADER = 47
"""zlib's own sign for a zlib or a gzip header, told apart by itself."""
_NO_HEADER = -15
_ZLIB = 8
"""What the lower half of a zlib header's first byte says."""


class BodyError(ValueError):
    """The body is compressed in a way that is not read, or cut off. The message has no URL."""


class BodyTooLong(BodyError):
    """The body has more bytes than are read."""


class Response(Protocol):
    """As much of `aiohttp.ClientResponse` as is needed here."""

    @property
    def headers(self) -> Any:
        """The headers, several of one name included."""

    @property
    def content(self) -> Any:
        """The stream of the body, as it is on the wire."""


async def bounded_body(response: Response, most_bytes: int) -> bytes:
    """Return the whole body, decompressed where it is compressed.

    Raises BodyTooLong for more than `most_bytes`, and BodyError for an encoding that is not known
    and for a compressed body that is cut off, damaged or followed by something else.
    """
    encoding = ", ".join(response.headers.getall("Content-Encoding", ["identity"])).lower()
    if encoding not in {"identity", "", "gzip", "deflate"}:
        raise BodyError(f"a body in the encoding {excerpt(encoding, 20)!r}, which is not read")
    is_packed = encoding in {"gzip", "deflate"}
    unpacked: Any = None
    body = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        if is_packed and unpacked is None:
            is_raw = encoding == "deflate" and chunk[0] & 15 != _ZLIB
            unpacked = zlib.decompressobj(_NO_HEADER if is_raw else _ANY_HEADER)
        try:
            body += unpacked.decompress(chunk, most_bytes + 1 - len(body)) if unpacked else chunk
        except zlib.error:
            raise BodyError("a compressed body that cannot be decompressed") from None
        if len(body) > most_bytes:
            raise BodyTooLong(f"more than {most_bytes} bytes")
        if unpacked and unpacked.unused_data:
            raise BodyError("a compressed body with something after it")
    if unpacked and not unpacked.eof:
        raise BodyError("a compressed body that is cut off")
    return bytes(body)
