"""A client for any exchange of ccxt, with additional guards: complete answers, text, hard bounds.

ccxt knows the requests of each exchange and the meaning of its rows. But it turns a broken answer
into an empty list, drops rows of a page by time and count, and reads numbers as floats. Here each
answer is checked before ccxt sees it, each row of a page is returned, and each number stays the
exchange's text. ccxt is imported when a client is opened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from connectors.ccxt_exchange.exchanges import Place
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
"""One row as ccxt parses it. Its `info` is the exchange's own row, numbers as text."""

READS = (
    "load_markets",
    "fetch_my_trades",
    "fetch_funding_history",
    "fetch_positions",
    "fetch_balance",
)
"""All calls of ccxt that recon makes. All only read, also those that are a POST."""
NOT_SERVED = frozenset({403, 451})
"""HTTP statuses of an address that is not on the key's list, or of a country without service."""
MAX_EXPONENT = 400
"""The largest exponent of a number that ccxt computes with: ccxt expands the exponent to zeros."""
FAR_FUTURE_MS = 10**14
"""Milliseconds since 1970 from which on a time is invalid."""
SPEAKS_OF_ELSE = ("err", "ext")
"""The prefixes of fields that are empty in any valid answer."""


@dataclass(frozen=True, slots=True)
class ExchangeKey:
    """The credentials of an account at an exchange. `repr` shows no part of them."""

    api_key: str = ""
    secret: str = ""
    passphrase: str = ""
    wallet_address: str = ""

    def __repr__(self) -> str:
        return "ExchangeKey(…)"


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """The exchange, the part of it that is read, and its address."""

    exchange: str
    market_type: str | None = None
    sub_type: str | None = None
    currency: str = ""
    is_demo: bool = False
    base_url: str | None = None


class CcxtClient:
    """Sends an exchange one request at a time, and accepts only complete answers."""

    def __init__(self, exchange: Any, patience: RetryPolicy) -> None:
        self._exchange = exchange
        self._patience = patience
        self._deadline = asyncio.get_running_loop().time() + patience.total_s

    def found(self, at: Sequence[str]) -> Any:
        """Return the value at a place of the last answer, numbers as text; None for no value."""
        found = self._exchange.last_answer
        for name in at:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    @property
    def is_clock_known(self) -> bool:
        """Whether the last answer had the exchange's time."""
        return self._exchange.skew_s is not None

    def market(self, symbol: str) -> Mapping[str, Any] | None:
        """Return the market that the exchange lists under a symbol; None if it lists none."""
        found: Mapping[str, Any] | None = (self._exchange.markets or {}).get(symbol)
        return found

    def symbols(self) -> frozenset[str]:
        """Return the symbols of all markets that the exchange lists."""
        return frozenset(self._exchange.markets or ())

    def currencies(self) -> frozenset[str]:
        """Return the currencies that the exchange's markets consist of or are settled in."""
        markets = (self._exchange.markets or {}).values()
        keys = ("base", "quote", "settle")
        return frozenset(str(one[key]) for one in markets for key in keys if one.get(key))

    async def load(self) -> None:
        """Load the list of markets."""
        await self._patiently("load_markets", (), None)

    async def rows(self, call: str, *arguments: object, at: Place | None = None) -> list[Row]:
        """Return every row of one answer. The request is retried while the exchange is busy.

        `at` is the place of the rows in the answer, if known: an answer without it is not an empty
        page. Raises VenueBusy at the deadline, VenueRefused or VenueError at once. All requests
        together share one deadline.
        """
        return _checked_rows(call, await self._patiently(call, arguments, at))

    async def totals(self, at: Place | None = None) -> Mapping[str, str | None]:
        """Return the amount held of each currency."""
        held = await self._patiently("fetch_balance", (), at)
        totals: Mapping[str, str | None] = held.get("total") or {}
        if at is None and not totals and not _shows_emptiness(self.found(())):
            raise VenueBusy("fetch_balance: neither balances nor an empty list of them")
        return totals

    async def _patiently(self, call: str, arguments: Sequence[object], at: Place | None) -> Any:
        try:
            async with asyncio.timeout_at(self._deadline):
                async for attempt in self._patience.retrying():
                    with attempt:
                        return await self._ask(call, arguments, at)
        except TimeoutError:
            raise VenueBusy(f"{call}: not answered within {self._patience.total_s:g} s") from None
        raise AssertionError("tenacity returns or raises")

    async def _ask(self, call: str, arguments: Sequence[object], at: Place | None) -> Any:
        import ccxt

        if call not in READS:
            raise AssertionError(f"{call} is not one of the reads")
        try:
            answer = await getattr(self._exchange, call)(*arguments)
        except VenueError:
            raise
        except ccxt.BaseError as error:
            raise _venue_error(call, error) from None
        except Exception as error:  # noqa: BLE001 - of ccxt or aiohttp, over an answer
            said = excerpt(f"{call}: ccxt cannot read the answer: {error!r}", 200)
            raise VenueBusy(said) from None
        if call != "load_markets":
            self._check_whole(call, answer, at)
        return answer

    def _check_whole(self, call: str, rows: Any, at: Place | None) -> None:
        """Raise VenueBusy if the answer lacks the place of the requested rows.

        If that place is not known, an answer without rows must contain an empty value.
        """
        if at is not None and not _are_rows(self.found(at.names), at):
            place = ".".join(at.names) or "the top"
            raise VenueBusy(
                f"{call}: an incomplete answer: neither rows nor an empty list at {place}"
            )
        if at is None and not rows and not _shows_emptiness(self.found(())):
            raise VenueBusy(f"{call}: neither rows nor an empty list of them")


@asynccontextmanager
async def open_client(
    key: ExchangeKey,
    settings: ExchangeSettings,
    options: Mapping[str, object],
    patience: RetryPolicy,
) -> AsyncIterator[CcxtClient]:
    """Yield an open client, which is always closed again. `options` are ccxt's own."""
    import ccxt.async_support as ccxt

    _bound_exponents()
    session = open_session(patience)
    chosen = {"defaultType": settings.market_type, "defaultSubType": settings.sub_type}
    exchange = _guarded(getattr(ccxt, settings.exchange))(
        {
            "apiKey": key.api_key or None,
            "secret": key.secret or None,
            "password": key.passphrase or None,
            "walletAddress": key.wallet_address or None,
            "enableRateLimit": patience.is_rate_limited,
            "timeout": int(patience.request_timeout_s * 1000),
            "session": session,
            "timeout_on_exit": 0,  # closing the session waits for its connections
            # binance's margin pairs need another permission, and are not read.
            "options": {
                "fetchMargins": False,
                **options,
                **{name: one for name, one in chosen.items() if one},
            },
        }
    )
    exchange.number = str
    exchange.ssl_context = tls_context(exchange.cafile)
    # No separate request for the names of currencies: it may need more than a reading key.
    exchange.has["fetchCurrencies"] = False
    async with afterwards_async(session.close), afterwards_async(exchange.close):
        if settings.is_demo:
            _enter_sandbox(exchange)
        if settings.base_url is not None:
            exchange.urls["api"] = _moved(exchange.urls["api"], settings.base_url)
        client = CcxtClient(exchange, patience)
        await client.load()
        yield client


def _guarded(exchange: Any) -> Any:
    """Return ccxt's class of an exchange, guarded: complete answers and pages, numbers as text."""

    class Guarded(exchange):  # type: ignore[misc]  # ccxt has no types
        # ccxt's DEBUG lines show the key: this separate logger cannot be configured from outside.
        logger = logging.Logger("ccxt", logging.WARNING)  # noqa: LOG001
        last_answer: Any = None

        skew_s: float | None = None

        def on_rest_response(self, *answer: Any) -> str:
            code, _reason, url, _method, headers, body = answer[:6]
            self.skew_s = check_clock(headers)
            self.last_answer = checked_answer(code, urlsplit(url).path, body)
            return str(body)

        def parse_json(self, _body: str) -> Any:  # `on_rest_response` has decoded it
            return self.last_answer if isinstance(self.last_answer, dict | list) else None

        # The whole page: ccxt would drop rows of it by symbol, time and count.
        def parse_trades(self, trades: Any, market: Any = None, *_: Any, **__: Any) -> list[Row]:
            return [self.parse_trade(row, market) for row in self.to_array(trades)]

        def parse_incomes(self, incomes: Any, market: Any = None, *_: Any, **__: Any) -> list[Row]:
            return [self.parse_income(row, market) for row in self.to_array(incomes)]

    return Guarded


@cache
def _bound_exponents() -> None:
    """Make ccxt's arithmetic raise ValueError for an exponent whose zeros would fill the memory."""
    from ccxt.base.precise import Precise

    read = Precise.__init__

    def bounded(self: Any, number: Any, decimals: int | None = None) -> None:
        exponent = str(number).lower().partition("e")[2] if decimals is None else ""
        if exponent and abs(int(exponent)) > MAX_EXPONENT:
            raise ValueError(f"the exponent of {excerpt(str(number), 60)!r} exceeds {MAX_EXPONENT}")
        read(self, number, decimals)

    Precise.__init__ = bounded


def checked_answer(status: int, path: str, body: str) -> Any:
    """Return the decoded body of a complete answer of any exchange; None for an error without JSON.

    ccxt's own tables read the exchange's errors in body and status. Raises VenueBusy for an
    incomplete answer, VenueRefused if the exchange does not serve this address.
    """
    if status in NOT_SERVED:
        raise VenueRefused(
            f"{path}: HTTP {status}: this address is not served: add it to the key's list"
        )
    try:
        answer = decoded_answer(path, body)
    except VenueBusy:
        if status == OK:
            raise
        return None
    is_text = isinstance(answer, str) and body.lstrip().startswith('"')
    if status == OK and not is_text and not isinstance(answer, dict | list):
        raise VenueBusy(f"{path}: an incomplete answer: {excerpt(body, 60)!r}")
    return answer


def _checked_rows(call: str, rows: Any) -> list[Row]:
    """Return ccxt's rows, with the fields that recon uses checked for their types.

    Raises VenueBusy for an invalid field: ccxt passes on whatever value an exchange sent in it.
    """
    if not isinstance(rows, list):
        raise VenueBusy(f"{call}: no list of rows")
    for row in rows:
        stamp = row.get("timestamp")
        is_read = {
            "info": isinstance(row.get("info"), dict),
            "symbol": isinstance(row.get("symbol"), str | None),
            "id": isinstance(row.get("id"), str | None),
            "timestamp": stamp is None or (type(stamp) is int and 0 <= stamp < FAR_FUTURE_MS),
        }
        if wrong := [name for name, is_right in is_read.items() if not is_right]:
            said = excerpt(repr(row.get(wrong[0])), 60)
            raise VenueBusy(f"{call}: a row whose {wrong[0]} cannot be read: {said}")
    return rows


def _are_rows(found: Any, at: Place) -> bool:
    if at.is_keyed and isinstance(found, dict):
        return all(isinstance(row, dict) for row in found.values())
    return not at.is_keyed and isinstance(found, list) and all(isinstance(r, dict) for r in found)


def _shows_emptiness(answer: Any) -> bool:
    if isinstance(answer, list):
        return not answer or any(map(_shows_emptiness, answer))
    if not isinstance(answer, dict):
        return False
    return any(
        value in ([], {}) or _shows_emptiness(value)
        for name, value in answer.items()
        if not any(word in name.lower() for word in SPEAKS_OF_ELSE)
    )


def _venue_error(call: str, error: Exception) -> VenueError:
    """Return recon's error for one of ccxt's: VenueBusy, VenueRefused or VenueError.

    A wrong clock (InvalidNonce) is a NetworkError in ccxt, as is Kraken's answer to a key that two
    programs use. The latter is temporary, so it is retried: `check_clock` reports a wrong clock
    before.
    """
    import ccxt

    said = f"{call}: {type(error).__name__}: {cause_of(error)}"
    if isinstance(error, ccxt.AuthenticationError):
        return VenueRefused(said)
    if isinstance(error, ccxt.OperationFailed | ccxt.BadResponse | ccxt.NullResponse):
        return VenueBusy(said)
    return VenueError(said)


def _enter_sandbox(exchange: Any) -> None:
    import ccxt

    try:
        exchange.set_sandbox_mode(enable=True)
    except ccxt.NotSupported:
        raise VenueRefused(f'{exchange.id} has no test environment: set mode = "live"') from None


def _moved(urls: Any, base_url: str) -> Any:
    """Return the exchange's addresses with another host and unchanged paths."""
    if isinstance(urls, dict):
        return {name: _moved(one, base_url) for name, one in urls.items()}
    there = urlsplit(base_url.rstrip("/"))
    path = there.path + urlsplit(str(urls)).path
    return urlunsplit((there.scheme, there.netloc, path, "", ""))
