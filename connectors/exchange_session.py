"""The HTTP session beneath ccxt, with the bounds that ccxt does not set.

A deadline over the whole answer, a bound on its size, no redirect of a signed request, and a look
at the venue's clock.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

from connectors.patience import Patience
from recon.errors import VenueBusy, VenueRefused
from recon.outside_text import excerpt

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_SKEW_S = 5.0
OK = 200
REDIRECTS = range(300, 400)


def open_session(patience: Patience) -> Any:
    """Return a session for one account's whole conversation; close it after."""
    import aiohttp  # noqa: PLC0415 - with ccxt, and only then

    class CappedResponse(aiohttp.ClientResponse):
        """Reads no more than a bound, decompressed: a bomb is an error and not a full memory."""

        async def read(self) -> bytes:
            if self._body is None:
                body = bytearray()
                async for chunk in self.content.iter_chunked(65536):
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise VenueBusy(f"{self.url.path}: more than {MAX_BODY_BYTES} bytes")
                self._body = bytes(body)
            return self._body

    async def no_redirect(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await handler(request)
        if response.status in REDIRECTS:
            raise VenueBusy(f"{request.url.path}: redirected; signed requests are not sent on")
        return response

    return aiohttp.ClientSession(
        response_class=CappedResponse,
        middlewares=(no_redirect,),
        timeout=aiohttp.ClientTimeout(total=patience.request_timeout_s),
        trust_env=True,
    )


@cache
def tls_context(cafile: str) -> ssl.SSLContext:
    """Return what servers are verified by, one for all clients: to read `cafile` takes a while."""
    return ssl.create_default_context(cafile=cafile)


def check_clock(headers: Mapping[str, str]) -> None:
    """Raise VenueRefused where this machine's clock and the venue's lie apart."""
    ahead_s = skew_s(headers)
    if ahead_s is not None and abs(ahead_s) > MAX_SKEW_S + 1:  # the header counts whole seconds
        raise VenueRefused(
            f"this machine's clock is {ahead_s:+.0f} s off the venue's: synchronise it (NTP)"
        )


def skew_s(headers: Mapping[str, str]) -> float | None:
    """Return how far this machine's clock runs ahead of an answer's date, if it has one."""
    date = next((value for name, value in headers.items() if name.lower() == "date"), None)
    if date is None:
        return None
    return (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()


def cause_of(error: BaseException) -> str:
    """Return what lay under ccxt's error; its own text repeats the URL and nothing else."""
    cause = error.__cause__ or error.__context__
    said = f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
    return excerpt(said, 200)
