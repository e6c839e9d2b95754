"""Any exchange of ccxt's, with the guards it lacks: whole answers, text numbers, hard bounds.

ccxt knows how each exchange is asked and what its rows mean; it also turns a broken answer into an
empty list, drops rows of a page by time and count, and reads numbers as floats. Here each answer is
looked at before ccxt sees it, each row of a page comes back, and each number stays the text that
the exchange sent. ccxt is imported when a client is opened.
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
"""One row as ccxt understands it; `info` in it is what the exchange sent, numbers as text."""

READS = (
    "load_markets",
    "fetch_my_trades",
    "fetch_funding_history",
    "fetch_positions",
    "fetch_balance",
)
"""Every call of ccxt's that leaves here. All are reads, also where an exchange wants a POST."""
NOT_SERVED = frozenset({403, 451})
"""The address is not on the key's list, or the exchange does not serve this country."""
MAX_EXPONENT = 400
"""Of a number written as text that ccxt computes with: it writes the exponent out as zeros."""
FAR_FUTURE_MS = 10**14
"""Milliseconds since 1970, from which on a time is no time."""
SPEAKS_OF_ELSE = ("err", "ext")
"""How names of fields begin that are empty in a good answer, whatever it is about."""


@dataclass(frozen=True, slots=True)
class ExchangeKey:
    """What an exchange knows an account by. `repr` shows nothing of it."""

    api_key: str = ""
    secret: str = ""
    passphrase: str = ""
    wallet_address: str = ""

    def __repr__(self) -> str:
        return "ExchangeKey(…)"


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """Which part of which exchange is read, and where it is."""

    exchange: str
    market_type: str | None = None
    sub_type: str | None = None
    currency: str = ""
    is_demo: bool = False
    base_url: str | None = None


class CcxtClient:
    """Asks an exchange one question at a time, and takes only a whole answer for one."""

    def __init__(self, exchange: Any, patience: RetryPolicy) -> None:
        self._exchange = exchange
        self._patience = patience
        self._deadline = asyncio.get_running_loop().time() + patience.total_s

    def found(self, at: Sequence[str]) -> Any:
        """Return what lies at a place of the last answer, numbers as text; None where nothing."""
        found = self._exchange.last_answer
        for name in at:
            found = found.get(name) if isinstance(found, dict) else None
        return found

    @property
    def is_clock_known(self) -> bool:
        """Whether the last answer said what time it is at the exchange."""
        return self._exchange.skew_s is not None

    def market(self, symbol: str) -> Mapping[str, Any] | None:
        """Return what the exchange lists under a symbol; None where it lists nothing."""
        found: Mapping[str, Any] | None = (self._exchange.markets or {}).get(symbol)
        return found

    def symbols(self) -> frozenset[str]:
        """Return the symbols of everything that the exchange lists."""
        return frozenset(self._exchange.markets or ())

    def currencies(self) -> frozenset[str]:
        """Return the currencies that the exchange's markets are made of or settled in."""
        markets = (self._exchange.markets or {}).values()
        keys = ("base", "quote", "settle")
        return frozenset(str(one[key]) for one in markets for key in keys if one.get(key))

    async def load(self) -> None:
        """Read which markets there are."""
        await self._patiently("load_markets", (), None)

    async def rows(self, call: str, *arguments: object, at: Place | None = None) -> list[Row]:
        """Return every row of one answer, asking again while the exchange is busy.

        `at` is where in the answer the rows lie, where that is known: what is not there is not an
        empty page. Raises VenueBusy when patience ends, VenueRefused or VenueError at once. All
        questions together share one deadline.
        """
        return _checked_rows(call, await self._patiently(call, arguments, at))

    async def totals(self, at: Place | None = None) -> Mapping[str, str | None]:
        """Return how much is held of each currency."""
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
            raise _told_apart(call, error) from None
        except Exception as error:  # noqa: BLE001 - of ccxt or aiohttp, over an answer
            said = excerpt(f"{call}: ccxt cannot read the answer: {error!r}", 200)
            raise VenueBusy(said) from None
        if call != "load_markets":
            self._check_whole(call, answer, at)
        return answer

    def _check_whole(self, call: str, rows: Any, at: Place | None) -> None:
        """Raise VenueBusy where there is no place in the answer for what was asked for.

        Where that place is not known, an answer without rows has to show something that is empty.
        """
        if at is not None and not _are_rows(self.found(at.names), at):
            place = ".".join(at.names) or "the top"
            raise VenueBusy(f"{call}: not a whole answer: no rows, and no lack of them, at {place}")
        if at is None and not rows and not _shows_emptiness(self.found(())):
            raise VenueBusy(f"{call}: neither rows nor an empty list of them")


@asynccontextmanager
async def open_client(
    key: ExchangeKey,
    settings: ExchangeSettings,
    options: Mapping[str, object],
    patience: RetryPolicy,
) -> AsyncIterator[CcxtClient]:
    """Open a client and close it again, whatever happens. `options` are ccxt's own."""
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
            "timeout_on_exit": 0,  # the session waits, as it is closed, for its own connections
            # binance's margin pairs want another permission, and are not read.
            "options": {
                "fetchMargins": False,
                **options,
                **{name: one for name, one in chosen.items() if one},
            },
        }
    )
    exchange.number = str
    exchange.ssl_context = tls_context(exchange.cafile)
    # Names of currencies need no request of their own, which may want more than a reading key.
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
    """Return ccxt's class of an exchange with whole answers, text numbers and whole pages."""

    class Guarded(exchange):  # type: ignore[misc]  # ccxt has no types
        # Its DEBUG lines show the key: so a logger of its own, which no configuration reaches.
        logger = logging.Logger("ccxt", logging.WARNING)  # noqa: LOG001
        last_answer: Any = None

        skew_s: float | None = None

        def on_rest_response(self, *answer: Any) -> str:
            code, _reason, url, _method, headers, body = answer[:6]
            self.skew_s = check_clock(headers)
            self.last_answer = checked_answer(code, urlsplit(url).path, body)
            return str(body)

        def parse_json(self, _body: str) -> Any:  # which `on_rest_response` has decoded
            return self.last_answer if isinstance(self.last_answer, dict | list) else None

        # A page is what the exchange sent: ccxt would drop rows of it by symbol, time and count.
        def parse_trades(self, trades: Any, market: Any = None, *_: Any, **__: Any) -> list[Row]:
            return [self.parse_trade(row, market) for row in self.to_array(trades)]

        def parse_incomes(self, incomes: Any, market: Any = None, *_: Any, **__: Any) -> list[Row]:
            return [self.parse_income(row, market) for row in self.to_array(incomes)]

    return Guarded


@cache
def _bound_exponents() -> None:
    """Make ccxt's arithmetic refuse an exponent whose zeros would fill the memory."""
    from ccxt.base.precise import Precise

    read = Precise.__init__

    def bounded(self: Any, number: Any, decimals: int | None = None) -> None:
        exponent = str(number).lower().partition("e")[2] if decimals is None else ""
        if exponent and abs(int(exponent)) > MAX_EXPONENT:
            raise ValueError(f"the exponent of {excerpt(str(number), 60)!r} exceeds {MAX_EXPONENT}")
        read(self, number, decimals)

    Precise.__init__ = bounded


def checked_answer(status: int, path: str, body: str) -> Any:
    """Return what a whole answer says, whatever the exchange: None for an error that is no JSON.

    What the exchange says of itself, in an error's body or status, is left to ccxt's own tables.
    Raises VenueBusy for what is no whole answer, VenueRefused where this address is not served.
    """
    if status in NOT_SERVED:
        raise VenueRefused(f"{path}: HTTP {status}: this address is not served, or not on the list")
    try:
        answer = decoded_answer(path, body)
    except VenueBusy:
        if status == OK:
            raise
        return None
    is_text = isinstance(answer, str) and body.lstrip().startswith('"')
    if status == OK and not is_text and not isinstance(answer, dict | list):
        raise VenueBusy(f"{path}: not a whole answer: {excerpt(body, 60)!r}")
    return answer


def _checked_rows(call: str, rows: Any) -> list[Row]:
    """Return ccxt's rows if the fields that are worked with here are what ccxt says they are.

    Raises VenueBusy for one that is not: ccxt hands on what an exchange sent in a field's place.
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


def _told_apart(call: str, error: Exception) -> VenueError:
    """Return ours for one of ccxt's errors: worth asking again, refused, or no answer to this.

    A wrong clock (InvalidNonce) is a NetworkError to ccxt. So is Kraken's answer to a key that two
    programs use, which passes: a clock that is really off is told by `check_clock` before.
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
        raise VenueRefused(f'{exchange.id} has no test environment: mode = "live"') from None


def _moved(urls: Any, base_url: str) -> Any:
    """Return the exchange's addresses on another host; what follows the host stays."""
    if isinstance(urls, dict):
        return {name: _moved(one, base_url) for name, one in urls.items()}
    there = urlsplit(base_url.rstrip("/"))
    path = there.path + urlsplit(str(urls)).path
    return urlunsplit((there.scheme, there.netloc, path, "", ""))
