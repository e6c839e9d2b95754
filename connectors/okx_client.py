"""ccxt's OKX client, with the guards it lacks: an envelope check, text numbers, hard bounds.

Everything that ccxt would answer with an empty list (HTML with status 200, truncated JSON,
`data: null`) raises here. Errors are told by the venue's code: `VenueBusy` is worth another try,
`VenueRefused` is not. ccxt is imported when a client is opened.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from connectors.patience import Patience
from recon.errors import VenueBusy, VenueRefused

Row = dict[str, Any]
"""One element of an answer's `data`; every number in it is text."""

BUSY_CODES = frozenset({"50001", "50004", "50011", "50013", "50026", "50061", "50102"})
BUSY_STATUSES = frozenset({408, 425, 429}) | frozenset(range(500, 600))
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_SKEW_S = 5.0
OK = 200
REDIRECTS = range(300, 400)
METHODS: Mapping[str, str] = {
    "account/config": "privateGetAccountConfig",
    "account/balance": "privateGetAccountBalance",
    "account/positions": "privateGetAccountPositions",
    "account/positions-history": "privateGetAccountPositionsHistory",
    "account/bills": "privateGetAccountBills",
    "account/bills-archive": "privateGetAccountBillsArchive",
    "trade/fills": "privateGetTradeFills",
    "trade/fills-history": "privateGetTradeFillsHistory",
    "public/instruments": "publicGetPublicInstruments",
    "market/history-candles": "publicGetMarketHistoryCandles",
}
"""Every request that this project makes of OKX. All are reads."""
LISTED = "-candles"
"""How a path ends whose rows are lists, and not objects."""


@dataclass(frozen=True, slots=True)
class OkxKey:
    """What signs a request. `repr` shows nothing of it."""

    api_key: str
    secret: str
    passphrase: str

    def __repr__(self) -> str:
        return "OkxKey(…)"


class OkxClient:
    """Asks OKX one question at a time, and takes only a whole answer for one."""

    def __init__(self, exchange: Any, patience: Patience) -> None:
        self._exchange = exchange
        self._patience = patience
        self._deadline = asyncio.get_running_loop().time() + patience.total_s

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        check: Callable[[list[Row]], None] | None = None,
    ) -> list[Row]:
        """Return the rows of one answer, asking again while the venue is busy.

        `check` may raise VenueBusy for rows that cannot be what was asked for. Raises VenueBusy
        when patience ends, VenueRefused at once. All questions together share one deadline.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                async for attempt in self._patience.retrying():
                    with attempt:
                        return await self._ask(path, query or {}, check)
        except TimeoutError:
            raise VenueBusy(f"{path}: not answered within {self._patience.total_s:g} s") from None
        raise AssertionError("tenacity returns or raises")

    async def get_lists(self, path: str, query: Mapping[str, str]) -> list[list[str]]:
        """Return the rows of an answer whose rows are lists: candles. See `get`."""
        rows: list[Any] = await self.get(path, query)
        return rows

    async def _ask(
        self, path: str, query: Mapping[str, str], check: Callable[[list[Row]], None] | None
    ) -> list[Row]:
        import ccxt  # noqa: PLC0415 - heavy, and loaded by the time a client exists

        try:
            answer = await getattr(self._exchange, METHODS[path])(dict(query))
        except ccxt.BaseError as error:
            # Envelope errors never come this far: what is left is the connection.
            raise VenueBusy(f"{path}: {type(error).__name__}: {_cause(error)}") from None
        rows: list[Row] = answer["data"]
        try:
            if check is not None:
                check(rows)
        except VenueBusy as error:
            raise VenueBusy(f"{path}: {error}") from None
        return rows


@asynccontextmanager
async def open_client(
    key: OkxKey, patience: Patience, *, is_demo: bool, base_url: str | None
) -> AsyncIterator[OkxClient]:
    """Open a client and close it again, whatever happens."""
    import ccxt.async_support as ccxt  # noqa: PLC0415 - 40 times a bare start of Python

    class GuardedOkx(ccxt.okx):  # type: ignore[misc]  # ccxt has no types
        # Its DEBUG lines show the key: so a logger of its own, which no configuration reaches.
        logger = logging.Logger("okx", logging.WARNING)  # noqa: LOG001

        def on_rest_response(self, *answer: Any) -> str:
            code, _reason, url, _method, headers, body = answer[:6]
            return checked_body(code, urlsplit(url).path, headers, body)

        def on_json_response(self, body: str) -> Any:
            return json.loads(body, parse_float=str, parse_int=str)

    session = _session(patience)
    exchange = GuardedOkx(
        {
            "apiKey": key.api_key,
            "secret": key.secret,
            "password": key.passphrase,
            "enableRateLimit": patience.is_rate_limited,
            "timeout": int(patience.request_timeout_s * 1000),
            "session": session,
        }
    )
    exchange.number = str
    exchange.set_sandbox_mode(is_demo)
    if base_url is not None:
        exchange.urls["api"] = {"rest": base_url.rstrip("/")}
    try:
        yield OkxClient(exchange, patience)
    finally:
        await exchange.close()
        await session.close()


def checked_body(status: int, path: str, headers: Mapping[str, str], body: str) -> str:
    """Return `body` if it is a whole answer: status 200, JSON, code "0", `data` a list of rows.

    Raises VenueBusy or VenueRefused, by the venue's code first and the HTTP status second.
    """
    answer = _parsed(body)
    code = str(answer.get("code", "")) if answer is not None else ""
    message = str(answer.get("msg", ""))[:200] if answer is not None else ""
    if code not in {"", "0"}:
        error = VenueBusy if code in BUSY_CODES or status in BUSY_STATUSES else VenueRefused
        raise error(f"{path}: code {code}: {message}")
    if status != OK:
        error = VenueBusy if status in BUSY_STATUSES else VenueRefused
        raise error(f"{path}: HTTP {status}")
    if answer is None:
        raise VenueBusy(f"{path}: not JSON: {' '.join(body[:60].split())!r}")
    rows = answer.get("data")
    shape = list if path.endswith(LISTED) else dict
    if code != "0" or not isinstance(rows, list) or not all(isinstance(r, shape) for r in rows):
        raise VenueBusy(f"{path}: not a whole answer (code {code!r}, data {type(rows).__name__})")
    _check_clock(headers)
    return body


def _parsed(body: str) -> dict[str, Any] | None:
    try:
        answer = json.loads(body, parse_float=str, parse_int=str)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _check_clock(headers: Mapping[str, str]) -> None:
    """Raise VenueRefused where this machine's clock and the venue's lie apart."""
    date = next((value for name, value in headers.items() if name.lower() == "date"), None)
    if date is None:
        return
    skew_s = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    if abs(skew_s) > MAX_SKEW_S + 1:  # the header counts whole seconds
        raise VenueRefused(
            f"this machine's clock is {skew_s:+.0f} s off the venue's: synchronise it (NTP)"
        )


def _session(patience: Patience) -> Any:
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


def _cause(error: BaseException) -> str:
    """Return what lay under ccxt's error; its own text repeats the URL and nothing else."""
    cause = error.__cause__ or error.__context__
    return f"{type(cause).__name__}: {cause}"[:200] if cause is not None else str(error)[:200]
