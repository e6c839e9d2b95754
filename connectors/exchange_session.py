"""The HTTP session beneath ccxt, with the bounds that ccxt does not set.

It sets a deadline for each whole answer and bounds the size of one answer and of all answers. It
follows no redirect of a signed request, decodes the body and checks the venue's clock.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

from connectors.retry import RetryPolicy
from recon.errors import VenueBusy, VenueRefused
from recon.outside_text import excerpt
from recon.system.bounded_body import BodyError, bounded_body
from recon.system.bounded_json import UnreadableJson, counted, decoded

MAX_BODY_BYTES = 16 * 1024 * 1024
"""The most bytes of one answer, decompressed. The longest known list of markets has 13 million."""
MAX_SKEW_S = 5.0
OK = 200
REDIRECTS = range(300, 400)
CLOCK_UNKNOWN = "clock skew unknown: the answers have no readable Date header"

_DATE = re.compile(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT", re.ASCII)
"""The form of a Date header (RFC 9110). Others are obsolete, and no exchange sends them."""


def open_session(patience: RetryPolicy) -> Any:
    """Return a session for all requests of one account. The caller closes it.

    It raises VenueBusy for an answer of more than `MAX_BODY_BYTES`, for a body that is not UTF-8
    and for damaged compression. It raises VenueRefused when all answers together exceed
    `patience.most_bytes` or `patience.most_values`.
    """
    import aiohttp

    read_bytes = read_values = 0

    def check(path: str, what: str, value: int, limit: int) -> None:
        if value > limit:
            raise VenueRefused(
                f"{path}: all answers together have {value} {what}, more than the limit of {limit} "
                "for one account: set a larger max_fetch_mb for it, or a later `since`"
            )

    class BoundedResponse(aiohttp.ClientResponse):
        """A response that raises for a body beyond the bound, before it fills the memory."""

        async def read(self) -> bytes:
            nonlocal read_bytes
            if self._body is None:
                path = self.url.path
                try:
                    self._body = await bounded_body(self, MAX_BODY_BYTES)
                except BodyError as error:
                    raise VenueBusy(f"{path}: {error}") from None
                read_bytes += len(self._body)
                check(path, "bytes", read_bytes, patience.most_bytes)
            return self._body

        async def text(self, encoding: str | None = None, errors: str = "strict") -> str:  # noqa: ARG002 - JSON is UTF-8, whatever a header or ccxt says
            nonlocal read_values
            try:
                body = (await self.read()).decode("utf-8")
            except UnicodeDecodeError as error:
                raise VenueBusy(
                    f"{self.url.path}: not UTF-8: byte {error.start} cannot be decoded"
                ) from None
            read_values += counted(body)
            check(self.url.path, "values", read_values, patience.most_values)
            return body

    async def no_redirect(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await handler(request)
        if response.status in REDIRECTS:
            raise VenueBusy(f"{request.url.path}: redirected; signed requests are not sent on")
        return response

    return aiohttp.ClientSession(
        response_class=BoundedResponse,
        middlewares=(no_redirect,),
        timeout=aiohttp.ClientTimeout(total=patience.request_timeout_s),
        trust_env=True,
        auto_decompress=False,
    )


@cache
def tls_context(cafile: str) -> ssl.SSLContext:
    """Return the TLS context, shared by all clients: reading `cafile` is slow."""
    return ssl.create_default_context(cafile=cafile)


def decoded_answer(path: str, body: str) -> Any:
    """Return the decoded body of an answer, numbers as text. Raises VenueBusy for an invalid one.

    Answers are decoded only here. `recon.system.bounded_json` sets the limits.
    """
    try:
        return decoded(body)
    except UnreadableJson as error:
        raise VenueBusy(f"{path}: {error}") from None


def check_clock(headers: Mapping[str, str]) -> float | None:
    """Return how far this machine's clock runs ahead of the venue's, in seconds; None if unknown.

    Raises VenueRefused if the two clocks differ too much.
    """
    ahead_s = skew_s(headers)
    if ahead_s is not None and abs(ahead_s) > MAX_SKEW_S + 1:  # the header counts whole seconds
        raise VenueRefused(
            f"this machine's clock is {ahead_s:+.0f} s off the venue's: synchronise it (NTP)"
        )
    return ahead_s


def skew_s(headers: Mapping[str, str]) -> float | None:
    """Return how far this machine's clock runs ahead of an answer's date, in seconds.

    None where the answer has no date, several dates, or one that cannot be read.
    """
    dates = [value for name, value in headers.items() if name.lower() == "date"]
    if len(dates) != 1 or not _DATE.fullmatch(dates[0].strip()):
        return None
    try:
        date = parsedate_to_datetime(dates[0].strip())
        return (datetime.now(UTC) - date).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None


def cause_of(error: BaseException) -> str:
    """Return the cause of ccxt's error. The text of the error itself only repeats the URL."""
    cause = error.__cause__ or error.__context__
    said = f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
    return excerpt(said, 200)
