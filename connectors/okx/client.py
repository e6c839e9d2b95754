"""ccxt's OKX client, with additional guards: an envelope check, text numbers, hard bounds.

Answers that ccxt would turn into an empty list (HTML with status 200, truncated JSON, `data: null`)
raise here. The venue's code decides the error: `VenueBusy` is worth another try, `VenueRefused` is
not. ccxt is imported when a client is opened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from connectors.exchange_session import (
    OK,
    cause_of,
    check_clock,
    decoded_answer,
    open_session,
    tls_context,
)
from connectors.retry import RetryPolicy
from recon.errors import VenueBusy, VenueError, VenueRefused, afterwards_async
from recon.outside_text import excerpt

Row = dict[str, Any]
"""One element of an answer's `data`, its numbers as text."""

BUSY_CODES = frozenset({"50001", "50004", "50011", "50013", "50026", "50061", "50102"})
BUSY_STATUSES = frozenset({408, 425, 429}) | frozenset(range(500, 600))
METHODS: Mapping[str, str] = {
    "account/config": "privateGetAccountConfig",
    "account/balance": "privateGetAccountBalance",
    "account/positions": "privateGetAccountPositions",
    "account/positions-history": "privateGetAccountPositionsHistory",
    "account/bills": "privateGetAccountBills",
    "account/bills-archive": "privateGetAccountBillsArchive",
    "trade/fills": "privateGetTradeFills",
    "trade/fills-history": "privateGetTradeFillsHistory",
    "trade/orders-history": "privateGetTradeOrdersHistory",
    "trade/orders-history-archive": "privateGetTradeOrdersHistoryArchive",
    "trade/orders-pending": "privateGetTradeOrdersPending",
    "public/instruments": "publicGetPublicInstruments",
    "market/history-candles": "publicGetMarketHistoryCandles",
}
"""All requests that recon sends to OKX. All only read."""
LISTED = "-candles"
"""The end of a path whose rows are lists, and not objects."""


@dataclass(frozen=True, slots=True)
class OkxKey:
    """The key that signs requests. `repr` shows no part of it."""

    api_key: str
    secret: str
    passphrase: str

    def __repr__(self) -> str:
        return "OkxKey(…)"


class OkxClient:
    """Sends OKX one request at a time, and accepts only complete answers."""

    def __init__(self, exchange: Any, patience: RetryPolicy) -> None:
        self._exchange = exchange
        self._patience = patience
        self._deadline = asyncio.get_running_loop().time() + patience.total_s
        self.retries = 0

    @property
    def skew_ms(self) -> int | None:
        """How far this machine's clock runs ahead of the venue's, by the last answer's date."""
        skew_s: float | None = self._exchange.skew_s
        return None if skew_s is None else round(skew_s * 1000)

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        check: Callable[[list[Row]], None] | None = None,
    ) -> list[Row]:
        """Return the rows of one answer. The request is retried while the venue is busy.

        `check` may raise VenueBusy for rows that do not match the request. Raises VenueBusy at the
        deadline, VenueRefused at once. All requests together share one deadline.
        """
        try:
            async with asyncio.timeout_at(self._deadline):
                async for attempt in self._patience.retrying():
                    self.retries += attempt.retry_state.attempt_number > 1
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
        import ccxt

        try:
            answer = await getattr(self._exchange, METHODS[path])(dict(query))
        except VenueError:
            raise
        except ccxt.BaseError as error:
            # Envelope errors are raised earlier: this is an error of the connection.
            raise VenueBusy(f"{path}: {type(error).__name__}: {cause_of(error)}") from None
        except Exception as error:  # noqa: BLE001 - of ccxt or aiohttp, over an answer
            raise VenueBusy(excerpt(f"{path}: the answer cannot be read: {error!r}", 200)) from None
        rows: list[Row] = answer["data"]
        try:
            if check is not None:
                check(rows)
        except VenueBusy as error:
            raise VenueBusy(f"{path}: {error}") from None
        return rows


@asynccontextmanager
async def open_client(
    key: OkxKey, patience: RetryPolicy, *, is_demo: bool, base_url: str | None
) -> AsyncIterator[OkxClient]:
    """Yield an open client, which is always closed again."""
    import ccxt.async_support as ccxt

    class GuardedOkx(ccxt.okx):  # type: ignore[misc]  # ccxt has no types
        # ccxt's DEBUG lines show the key: this separate logger cannot be configured from outside.
        logger = logging.Logger("okx", logging.WARNING)  # noqa: LOG001

        skew_s: float | None = None

        def on_rest_response(self, *answer: Any) -> Any:
            code, _reason, url, _method, headers, body = answer[:6]
            path = urlsplit(url).path
            checked = checked_answer(code, path, body)
            self.skew_s = check_clock(headers)
            return checked

        def parse_json(self, answer: Any) -> Any:  # `on_rest_response` has decoded it
            return answer

    session = open_session(patience)
    exchange = GuardedOkx(
        {
            "apiKey": key.api_key,
            "secret": key.secret,
            "password": key.passphrase,
            "enableRateLimit": patience.is_rate_limited,
            "timeout": int(patience.request_timeout_s * 1000),
            "session": session,
            "timeout_on_exit": 0,  # closing the session waits for its connections
        }
    )
    exchange.number = str
    exchange.ssl_context = tls_context(exchange.cafile)
    exchange.set_sandbox_mode(is_demo)
    if base_url is not None:
        exchange.urls["api"] = {"rest": base_url.rstrip("/")}
    async with afterwards_async(session.close), afterwards_async(exchange.close):
        yield OkxClient(exchange, patience)


def checked_answer(status: int, path: str, body: str) -> dict[str, Any]:
    """Return a complete answer: status 200, JSON, code "0", `data` a list of rows.

    Raises VenueBusy or VenueRefused for any other, by the venue's code, then by the HTTP status.
    """
    unreadable: VenueBusy | None = None
    answer: Any = None
    try:
        answer = decoded_answer(path, body)
    except VenueBusy as failure:
        unreadable = failure
    said = answer if isinstance(answer, dict) else {}
    code, message = str(said.get("code", "")), excerpt(str(said.get("msg", "")), 200)
    if code not in {"", "0"}:
        error = VenueBusy if code in BUSY_CODES or status in BUSY_STATUSES else VenueRefused
        raise error(f"{path}: code {excerpt(code, 20)}: {message}")
    if status != OK:
        error = VenueBusy if status in BUSY_STATUSES else VenueRefused
        raise error(f"{path}: HTTP {status}")
    if unreadable is not None:
        raise unreadable
    rows = said.get("data")
    shape = list if path.endswith(LISTED) else dict
    if code != "0" or not isinstance(rows, list) or not all(isinstance(r, shape) for r in rows):
        raise VenueBusy(f"{path}: an incomplete answer (code {code!r}, data {type(rows).__name__})")
    return said
