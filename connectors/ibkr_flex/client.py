"""The client of the Flex Web Service (v3): SendRequest, then GetStatement until it is ready.

Every URL contains the token. So no URL and no exception of the HTTP library ever reaches a message,
a cause or a context. Requests only read, and keep to the service's rate limits. A file in the state
folder records until when a throttled token waits, for all processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn, TypeVar

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random
from yarl import URL

from connectors.ibkr_flex.statement import Answer, CutOffError, Statement, read_document
from connectors.retry import RetryPolicy
from recon.errors import StatementError, VenueBusy, VenueError, VenueRefused
from recon.outside_text import excerpt
from recon.system.bounded_body import BodyError, BodyTooLong, bounded_body

BASE_URL: Final = "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService"
HOSTS: Final = frozenset({"ndcdyn.interactivebrokers.com", "gdcdyn.interactivebrokers.com"})
USER_AGENT: Final = "recon/1 (reads Flex statements)"
SOURCE: Final = "web service"
THROTTLE_FILE: Final = "ibkr-flex-throttle.json"
OK: Final = 200
TOO_MANY: Final = 429
HTTPS_PORT: Final = 443
LONGEST_THROTTLE_S: Final = 3600.0

Result = TypeVar("Result")

NO_PERIOD: Final[Mapping[str, str]] = MappingProxyType({})

GENERATING: Final = "1019"
BAD_REFERENCE: Final = "1017"
THROTTLED: Final = "1018"
BUSY: Final = {
    "1001": "IBKR could not generate the statement",
    "1004": "the statement is incomplete at IBKR: the broker is not ready",
    "1005": "settlement data is not ready at IBKR",
    "1006": "FIFO data is not ready at IBKR",
    "1007": "mark-to-market data is not ready at IBKR",
    "1008": "mark-to-market and FIFO data are not ready at IBKR",
    "1009": "IBKR is under heavy load",
    "1021": "IBKR could not retrieve the statement",
}
REFUSED: Final = {
    "1003": "the statement is not available: check the query's period and sections",
    "1010": "legacy Flex queries are not supported: create an Activity Flex query",
    "1011": "the service account is inactive: enable the Flex Web Service in Client Portal",
    "1012": "the token has expired: generate a new one in Client Portal, and set it",
    "1013": "this address is not allowed for the token: renew it without, or with this, address",
    "1014": "the query is invalid: check query_id",
    "1015": "the token is invalid: set the newest one, which replaces all earlier ones",
    "1016": "the account is invalid for this token: set the token of the account's own user",
    "1020": "the request is invalid: check query_id and token",
}


@dataclass(frozen=True, slots=True)
class Pauses:
    """The pauses between requests, in seconds."""

    between_requests_s: float = 1.1
    """The pause between two requests. The service's limit is one request a second."""
    poll_s: tuple[float, float] = (5.0, 10.0)
    """The range of the pause between two requests for a statement that is being generated."""
    throttled_s: float = 120.0
    """The pause after "too many requests". It is on disk and holds for every process."""
    connect_s: float = 10.0


UNPACED: Final = Pauses(between_requests_s=0.0, poll_s=(0.0, 0.05))
"""The pauses for a server without a rate limit, with `RetryPolicy.is_rate_limited` off."""
FLEX_PATIENCE: Final = RetryPolicy(
    request_timeout_s=60.0, attempts=6, first_wait_s=5.0, longest_wait_s=60.0, total_s=600.0
)


class _StillGeneratingError(VenueBusy):
    """Code 1019: the statement is being generated. Request the same reference again."""


class FlexService:
    """The web service for one token and one query. `statements` makes all requests."""

    def __init__(
        self,
        *,
        token: str,
        query_id: str,
        state_dir: Path,
        now: Callable[[], datetime],
        base_url: str = BASE_URL,
        patience: RetryPolicy = FLEX_PATIENCE,
        pauses: Pauses | None = None,
    ) -> None:
        self._token = token
        self._query_id = query_id
        self._base = URL(base_url.rstrip("/"))
        self._throttle_file = state_dir / THROTTLE_FILE
        self._now = now
        self._patience = patience
        self._pauses = pauses or (Pauses() if patience.is_rate_limited else UNPACED)
        self._last_request = float("-inf")
        self._deadline = float("inf")

    def __repr__(self) -> str:
        return f"FlexService(host={self._base.host!r})"

    async def statements(self, period: tuple[date, date] | None = None) -> tuple[Statement, ...]:
        """Return the query's statements, as freshly generated.

        `period` is the first and the last date to state, at most 365 days, in place of the query's
        own. Raises VenueBusy if the statements are not ready in time, VenueRefused if they never
        will be, and StatementError for an invalid document.
        """
        return await self._within_total(partial(self._with_retries, _period(period)))

    async def reach(self) -> None:
        """Request a statement, and wait only until the request is accepted.

        Raises VenueBusy or VenueRefused.
        """
        await self._within_total(self._ask)

    async def _within_total(self, work: Callable[[], Awaitable[Result]]) -> Result:
        self._deadline = asyncio.get_running_loop().time() + self._patience.total_s
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.total_s):
                return await work()
        raise VenueBusy(
            f"the Flex Web Service sent no statement within {self._patience.total_s:g} s: "
            "wait, the next run asks again"
        )

    async def _with_retries(self, period: Mapping[str, str]) -> tuple[Statement, ...]:
        async for attempt in self._patience.retrying():
            with attempt:
                return await self._conversation(period)
        raise AssertionError("tenacity ends by returning or raising")

    async def _conversation(self, period: Mapping[str, str]) -> tuple[Statement, ...]:
        url, reference = await self._ask(period)
        polling = AsyncRetrying(
            retry=retry_if_exception_type(_StillGeneratingError),
            stop=stop_after_delay(self._patience.total_s),
            wait=wait_random(*self._pauses.poll_s),
            reraise=True,
        )
        async for attempt in polling:
            with attempt:
                found = await self._document(url, reference)
                if isinstance(found, Answer):
                    self._raise_for(found)
                return found
        raise AssertionError("tenacity ends by returning or raising")

    async def _ask(self, period: Mapping[str, str] = NO_PERIOD) -> tuple[URL, str]:
        """Return the URL and the reference code of the statement."""
        answer = await self._document(self._base / "SendRequest", self._query_id, period)
        if not isinstance(answer, Answer):
            raise VenueRefused(
                "SendRequest was answered with a statement: correct base_url, which is not the "
                "Flex Web Service"
            )
        if answer.status != "Success":
            self._raise_for(answer)
        if not answer.reference or not answer.url:
            raise VenueBusy("SendRequest was accepted without a reference code or a URL")
        return self._checked_url(answer.url), answer.reference

    async def _document(
        self, url: URL, subject: str, period: Mapping[str, str] = NO_PERIOD
    ) -> Answer | tuple[Statement, ...]:
        body = await self._request(url.with_query(t=self._token, q=subject, v="3", **period))
        if body.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
            raise VenueBusy(f"{url.host} answered with a web page: the service may be down")
        failure: VenueError | StatementError
        try:
            return await asyncio.to_thread(read_document, body, SOURCE)
        except CutOffError as error:
            failure = VenueBusy(_one_line(str(error)))
        except StatementError as error:
            failure = StatementError(_one_line(str(error)))
        # Raised here, without a context: the document may echo the token.
        raise failure

    async def _request(self, url: URL) -> bytes:
        """Return the body of one GET. No error names the URL."""
        await self._pause()
        failure: VenueError
        try:
            async with asyncio.timeout(self._patience.request_timeout_s):
                return await self._get(url)
        except TimeoutError:
            failure = VenueBusy(
                f"{url.host} sent no complete answer within {self._patience.request_timeout_s:g} s"
            )
        except (aiohttp.ClientSSLError, ssl.SSLError):
            failure = VenueRefused(
                f"{url.host}: the TLS connection cannot be trusted: check the machine's clock, "
                "its certificates, and any proxy between it and IBKR"
            )
        except (aiohttp.ClientError, OSError) as error:
            failure = VenueBusy(f"{url.host} could not be reached ({type(error).__name__})")
        except ValueError as error:
            failure = VenueBusy(f"{url.host} sent an invalid answer ({type(error).__name__})")
        raise failure

    async def _get(self, url: URL) -> bytes:
        timeout = aiohttp.ClientTimeout(total=None, connect=self._pauses.connect_s)
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        async with (
            aiohttp.ClientSession(
                timeout=timeout,
                headers=headers,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            self._check_status(response)
            return await self._body(response)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the decompressed body. Raises for more bytes than one fetch may read."""
        host = response.url.host
        try:
            return await bounded_body(response, self._patience.most_bytes)
        except BodyTooLong as error:
            raise VenueRefused(
                f"{host} sent {error} that recon reads of one account: shorten the period of the "
                "Flex query, or set a larger max_fetch_mb for the account"
            ) from None
        except BodyError as error:
            raise VenueBusy(f"{host} sent {error}") from None

    def _check_status(self, response: aiohttp.ClientResponse) -> None:
        status, host = response.status, response.url.host
        if status == OK:
            return
        if status == TOO_MANY:
            self._throttle(response.headers.get("Retry-After", ""))
            raise VenueBusy(f"{host} answered HTTP 429: too many requests")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
            raise VenueBusy(f"{host} answered HTTP {status}: the service is down")
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            raise VenueRefused(
                f"{host} redirects (HTTP {status}), and recon sends the token to no other host: "
                "correct base_url"
            )
        raise VenueRefused(
            f"{host} answered HTTP {status}: check base_url and the token's addresses"
        )

    def _raise_for(self, answer: Answer) -> NoReturn:
        code = answer.code
        said = _one_line(f"IBKR's code {code or 'missing'}: {answer.message}")
        if code == GENERATING:
            raise _StillGeneratingError(f"the statement is still being generated ({said})")
        if code == THROTTLED:
            self._throttle("")
            raise VenueBusy(
                f"IBKR throttles this token: one request a second, ten a minute ({said})"
            )
        if code == BAD_REFERENCE:
            raise VenueBusy(f"the reference code was not accepted ({said})")
        if code in BUSY:
            raise VenueBusy(f"{BUSY[code]} ({said})")
        raise VenueRefused(
            f"{REFUSED.get(code, 'IBKR refused the request for an unknown reason')} ({said})"
        )

    def _checked_url(self, text: str) -> URL:
        """Return the URL that the service names, if the token may be sent to its host."""
        try:
            url = URL(text)
            origin = (url.scheme, url.host, url.port)
        except ValueError:
            origin = ("", None, None)
        own = (self._base.scheme, self._base.host, self._base.port)
        is_ibkr = origin[0] == "https" and origin[1] in HOSTS and origin[2] == HTTPS_PORT
        if (origin == own or is_ibkr) and url.user is None and url.password is None:
            return url
        raise VenueRefused(
            f"the answer names the host {_one_line(str(origin[1]))!r}, which is neither IBKR's nor "
            "base_url's: the token was not sent there, check base_url"
        )

    async def _pause(self) -> None:
        """Wait for the pause between requests and until the token is no longer throttled."""
        loop = asyncio.get_running_loop()
        rhythm_s = self._last_request + self._pauses.between_requests_s - loop.time()
        throttled_s = self._throttled_s()
        if throttled_s > self._deadline - loop.time():
            raise VenueError(
                f"IBKR throttles this token for another {throttled_s:.0f} s, longer than a run "
                "waits: no request was made, run again later"
            )
        await asyncio.sleep(max(rhythm_s, throttled_s, 0.0))
        self._last_request = loop.time()

    def _throttle(self, retry_after: str) -> None:
        wait_s = self._pauses.throttled_s
        if retry_after.isdecimal():
            wait_s = min(max(float(retry_after), wait_s), LONGEST_THROTTLE_S)
        until = self._now() + timedelta(seconds=wait_s)
        temporary = self._throttle_file.with_suffix(f".{os.getpid()}.tmp")
        self._throttle_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"throttled_until": until.isoformat()}), encoding="utf-8")
        temporary.chmod(0o600)
        temporary.replace(self._throttle_file)

    def _throttled_s(self) -> float:
        """Return the seconds until the next request is allowed, at most the longest pause."""
        try:
            found = json.loads(self._throttle_file.read_text(encoding="utf-8"))
            until = datetime.fromisoformat(found["throttled_until"])
            left_s = (until - self._now()).total_seconds()
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0
        return max(0.0, min(left_s, LONGEST_THROTTLE_S))


def _one_line(text: str) -> str:
    """Return the text in one line, shortened for an error."""
    return excerpt(" ".join(text.split()), 400)


def _period(period: tuple[date, date] | None) -> Mapping[str, str]:
    """Return the request parameters that override the period of a query."""
    if period is None:
        return NO_PERIOD
    return {"fd": f"{period[0]:%Y%m%d}", "td": f"{period[1]:%Y%m%d}"}
