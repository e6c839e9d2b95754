"""What is known of how exchanges hand out an account's history: what ccxt declares, corrected.

ccxt's `features` say how many trades a page holds, how long a span may be asked for and whether a
symbol has to be named. The table below says what they leave out or have wrong. Of an exchange that
is not in it, trades are read by what ccxt declares, and how funding is paged is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, NamedTuple

Style = Literal["spans", "cursor", "offset"]
NO_OPTIONS: Mapping[str, object] = {}


class Place(NamedTuple):
    """Where in an answer the rows lie: a list of objects, or objects by a key."""

    names: tuple[str, ...] = ()
    is_keyed: bool = False


@dataclass(frozen=True, slots=True)
class Paging:
    """How one kind of rows is paged.

    `spans`: rows between two instants, a full page asked for again in halves. `cursor`: the answer
    names its next page. `offset`: the answer says how many rows there are.
    """

    style: Style = "spans"
    page: int | None = None
    """Rows of a full page; None is unknown, and then no page is known to be whole."""
    longest: timedelta | None = None
    """The longest span of one question."""
    back: timedelta | None = None
    """How far back rows are served."""
    newest: int | None = None
    """How many rows are served at all, the newest ones."""
    at: Place | None = None
    """Where in the answer the rows lie; None is unknown."""
    next_at: tuple[str, ...] = ()
    """Where the answer names its next page (cursor), or how many rows there are (offset)."""
    from_id: str = ""
    """The parameter by which trades are asked from an id on, where ids rise with time."""
    variants: tuple[Mapping[str, object], ...] = (NO_OPTIONS,)
    """What has to be asked one by one, as parameters."""
    is_declared_alone: bool = False
    """Only ccxt says how many rows a page holds: then each page is held against its parts."""


@dataclass(frozen=True, slots=True)
class Stated:
    """How an exchange states what an account holds now."""

    positions_at: Place | None = None
    """Where in the answer the open positions lie; None is unknown."""
    positions_page: int | None = None
    """How many positions are stated at most."""
    balances_at: Place | None = None
    settles_in: str = ""
    """ccxt's option for the currency of the positions that are stated, where it is but one."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange, as far as it matters here."""

    id: str
    needs: tuple[str, ...]
    """What a request is signed with, by ccxt's names."""
    is_by_symbol: bool
    has_positions: bool
    """Whether it shows open positions of this type of markets; of spot there are none."""
    has_trades: bool
    trades: Paging
    funding: Paging | None
    """None: ccxt shows none. Without a page size: how it is paged is not known."""
    stated: Stated


WEEK = timedelta(days=7)
ASSUMED_BACK = timedelta(days=30)
"""How far back an exchange is taken to serve trades that does not say so."""
_BYBIT = Paging(
    "cursor",
    page=100,
    longest=WEEK - timedelta(milliseconds=1),
    back=timedelta(days=729),
    at=Place(("result", "list")),
    next_at=("result", "nextPageCursor"),
)
# Liquidations, ADL, blocks and moved positions are executions of types of their own.
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
    # Where balances lie depends on how the account is kept: as one, or spot apart.
    "hyperliquid": Stated(Place(("assetPositions",))),
}
_NEEDS_NO_SYMBOL = frozenset({"hyperliquid"})
"""Where ccxt declares that a symbol is required, and the exchange asks for none."""


def exchange_facts(name: str, market_type: str | None, sub_type: str | None) -> Exchange:
    """Return what is known of an exchange, for one type of its markets (None: its usual one)."""
    import ccxt

    exchange: Any = getattr(ccxt, name)()
    kind = market_type or exchange.options.get("defaultType") or "spot"
    is_spot = kind == "spot"
    # binance's futures are the same under either of its names.
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
    """Return what ccxt declares of `fetchMyTrades`, for one type of market."""
    of_kind = (exchange.features or {}).get(kind) or {}
    if "fetchMyTrades" not in of_kind:
        usual = sub_type or exchange.options.get("defaultSubType") or "linear"
        of_kind = of_kind.get(usual) or {}
    declared: Mapping[str, Any] = of_kind.get("fetchMyTrades") or {}
    return declared
