"""How exchanges serve an account's history: ccxt's declarations, corrected.

ccxt's `features` declare the page size of trades, the longest span of one request and whether a
symbol is required. The table below adds and corrects facts. For an exchange that is not in the
table, trades are read by ccxt's declarations, and the paging of funding is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, NamedTuple

Style = Literal["spans", "cursor", "offset"]
NO_OPTIONS: Mapping[str, object] = {}


class Place(NamedTuple):
    """The place of the rows in an answer: a list of objects, or objects by a key."""

    names: tuple[str, ...] = ()
    is_keyed: bool = False


@dataclass(frozen=True, slots=True)
class Paging:
    """How one kind of rows is paged.

    `spans`: rows between two instants; a full page is requested again in halves. `cursor`: the
    answer names its next page. `offset`: the answer has the number of all rows.
    """

    style: Style = "spans"
    page: int | None = None
    """The rows of a full page; None is unknown: then no page is known to be complete."""
    longest: timedelta | None = None
    """The longest span of one request."""
    back: timedelta | None = None
    """How far back rows are served."""
    newest: int | None = None
    """The number of rows that are served at all, the newest ones."""
    at: Place | None = None
    """The place of the rows in the answer; None is unknown."""
    next_at: tuple[str, ...] = ()
    """The place of the next page (cursor), or of the number of rows (offset), in the answer."""
    from_id: str = ""
    """The parameter for requests of trades from an id on, if ids rise with time."""
    variants: tuple[Mapping[str, object], ...] = (NO_OPTIONS,)
    """The parameters of separate requests."""
    is_declared_alone: bool = False
    """Whether only ccxt declares the page size: then each page is checked against its parts."""


@dataclass(frozen=True, slots=True)
class Stated:
    """How an exchange states the current holdings of an account."""

    positions_at: Place | None = None
    """The place of the open positions in the answer; None is unknown."""
    positions_page: int | None = None
    """The most positions that are stated."""
    balances_at: Place | None = None
    settles_in: str = ""
    """ccxt's option for the currency of the stated positions, if it is only one."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The facts of one exchange that recon needs."""

    id: str
    needs: tuple[str, ...]
    """The credentials that sign a request, by ccxt's names."""
    is_by_symbol: bool
    has_positions: bool
    """Whether it shows open positions of this type of markets. Spot has none."""
    has_trades: bool
    trades: Paging
    funding: Paging | None
    """The paging of funding. None: ccxt shows none. Without a page size: the paging is unknown."""
    stated: Stated


WEEK = timedelta(days=7)
ASSUMED_BACK = timedelta(days=30)
"""The assumed past that an exchange serves if it does not declare it."""
_BYBIT = Paging(
    "cursor",
    page=100,
    longest=WEEK - timedelta(milliseconds=1),
    back=timedelta(days=729),
    at=Place(("result", "list")),
    next_at=("result", "nextPageCursor"),
)
# Liquidations, ADL, blocks and moved positions are executions of separate types.
_BYBIT_FILLS = ("Trade", "BustTrade", "AdlTrade", "BlockTrade", "MovePosition")
_BINANCE_INCOME = Paging(page=1000, longest=WEEK, back=timedelta(days=89), at=Place())
_HYPERLIQUID = Paging(page=2000, newest=10_000, at=Place())

_TRADES: Mapping[str, Paging] = {
    "binance": Paging(page=1000, longest=timedelta(days=1), at=Place(), from_id="fromId"),
    "binanceusdm": Paging(
        page=1000, longest=WEEK, back=timedelta(days=179), at=Place(), from_id="fromId"
    ),
    "binancecoinm": Paging(
        page=1000, longest=WEEK, back=timedelta(days=179), at=Place(), from_id="fromId"
    ),
    "bybit": replace(_BYBIT, variants=tuple({"execType": one} for one in _BYBIT_FILLS)),
    "kraken": Paging(
        "offset",
        page=50,
        at=Place(("result", "trades"), is_keyed=True),
        next_at=("result", "count"),
    ),
    "hyperliquid": _HYPERLIQUID,
}
_FUNDING: Mapping[str, Paging] = {
    "binanceusdm": _BINANCE_INCOME,
    "binancecoinm": _BINANCE_INCOME,
    "bybit": _BYBIT,
    "hyperliquid": replace(_HYPERLIQUID, page=500, newest=None),
}
_BINANCE_FUTURES = Stated(Place(), None, Place(("assets",)))
_STATED: Mapping[str, Stated] = {
    "binance": Stated(Place(), None, Place(("balances",))),
    "binanceusdm": _BINANCE_FUTURES,
    "binancecoinm": _BINANCE_FUTURES,
    "bybit": Stated(Place(("result", "list")), 200, Place(("result", "list")), "defaultSettle"),
    "kraken": Stated(None, None, Place(("result",), is_keyed=True)),
    # The place of balances depends on the account's mode: unified, or spot apart.
    "hyperliquid": Stated(Place(("assetPositions",))),
}
_NEEDS_NO_SYMBOL = frozenset({"hyperliquid"})
"""Exchanges that need no symbol although ccxt declares it as required."""


def exchange_facts(name: str, market_type: str | None, sub_type: str | None) -> Exchange:
    """Return the facts of an exchange, for one type of its markets (None: its default type)."""
    import ccxt

    exchange: Any = getattr(ccxt, name)()
    kind = market_type or exchange.options.get("defaultType") or "spot"
    is_spot = kind == "spot"
    # binance's futures are the same under both of its names.
    known = "binanceusdm" if name == "binance" and not is_spot else name
    declared = _declared(exchange, kind, sub_type)
    days, back = declared.get("untilDays"), declared.get("daysBack")
    trades = _TRADES.get(known) or Paging(
        page=declared.get("limit"),
        longest=timedelta(days=days) if days else None,
        back=timedelta(days=back) if back else ASSUMED_BACK,
        is_declared_alone=True,
    )
    return Exchange(
        id=name,
        needs=tuple(
            key
            for key in ("apiKey", "secret", "password", "walletAddress")
            if exchange.requiredCredentials.get(key)
        ),
        is_by_symbol=bool(declared.get("symbolRequired")) and name not in _NEEDS_NO_SYMBOL,
        has_positions=bool(exchange.has.get("fetchPositions")) and not is_spot,
        has_trades=bool(exchange.has.get("fetchMyTrades")),
        trades=trades,
        funding=None if is_spot else _funding(known, exchange),
        stated=_STATED.get(known, Stated()),
    )


def _funding(name: str, exchange: Any) -> Paging | None:
    if name in _FUNDING:
        return _FUNDING[name]
    return Paging() if exchange.has.get("fetchFundingHistory") else None


def _declared(exchange: Any, kind: str, sub_type: str | None) -> Mapping[str, Any]:
    """Return ccxt's declaration of `fetchMyTrades`, for one type of market."""
    of_kind = (exchange.features or {}).get(kind) or {}
    if "fetchMyTrades" not in of_kind:
        usual = sub_type or exchange.options.get("defaultSubType") or "linear"
        of_kind = of_kind.get(usual) or {}
    declared: Mapping[str, Any] = of_kind.get("fetchMyTrades") or {}
    return declared
