"""How libraries write a secret: each encoding by the library itself, and none by our own code."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus
from xml.sax import saxutils


def encodings(secret: str) -> Iterator[str]:
    """Yield a secret as it is, and in every encoding that must be recognised."""
    data = secret.encode()
    yield secret
    for one in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield one
        yield _lower_escapes(one)
        yield quote(one)
    for before in (b"", b"u", b"user:", b"xyz"):
        for after in (b"", b"@", b"\xff"):
            yield base64.b64encode(before + data + after).decode()
            yield base64.urlsafe_b64encode(before + data + after).decode().rstrip("=")
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield json.dumps(json.dumps(secret))
    yield secret.replace("/", "\\/")
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]
    yield repr(data)[2:-1]
    yield html.escape(secret)
    yield saxutils.escape(secret)
    yield saxutils.quoteattr(secret)
    yield secret.encode("ascii", "xmlcharrefreplace").decode()
    yield data.hex()
    yield data.hex().upper()


def _lower_escapes(quoted: str) -> str:
    first, *rest = quoted.split("%")
    return "%".join([first, *(each[:2].lower() + each[2:] for each in rest)])
