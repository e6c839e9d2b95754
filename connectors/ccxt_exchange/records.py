"""Records from the rows of an exchange of ccxt: their keys, times and payloads.

A payload is the exchange's own row (`info`, numbers as text) with the few fields that ccxt parses
from it. A number that ccxt turned into a float has lost its digits, and raises VenueError.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from connectors.ccxt_exchange.client import FAR_FUTURE_MS, Row
from connectors.ccxt_exchange.paging import MILLISECOND, stamp_of
from connectors.payload import payload_text
from recon.core.records import Record
from recon.errors import VenueError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TRADE_FIELDS = ("id", "order", "symbol", "side", "amount", "price", "timestamp")
FUNDING_FIELDS = ("id", "symbol", "code", "amount", "timestamp")
POSITION_FIELDS = ("symbol", "side", "contracts", "entryPrice", "markPrice", "hedged", "marginMode")
MARKET_FIELDS = (
    "id",
    "symbol",
    "type",
    "contract",
    "contractSize",
    "linear",
    "inverse",
    "base",
    "quote",
    "settle",
)


def trade_record(key: str, row: Row) -> Record:
    """Return the record of a trade, with ccxt's fees: paid is positive, unknown is null."""
    fees = [fee for fee in row.get("fees") or [row.get("fee")] if fee]
    parts = [{"cost": fee.get("cost"), "currency": fee.get("currency")} for fee in fees]
    return _record("trade", key, row, TRADE_FIELDS, {"fees": parts})


def funding_record(key: str, row: Row) -> Record:
    """Return the record of a funding payment."""
    return _record("funding", key, row, FUNDING_FIELDS)


def position_record(row: Row) -> Record:
    """Return the record of an open position: a state without a time."""
    key = _key(row, "symbol", "side", "marginMode", "id")
    return _record("position", key, row, POSITION_FIELDS)._replace(at=None)


def coin_record(code: str, total: str | None) -> Record:
    """Return the record of the amount held of a currency."""
    return Record("coin", code, _text({"currency": code, "total": total}))


def instrument_record(symbol: str, market: Mapping[str, object]) -> Record:
    """Return the record of an instrument's fixed fields. The other fields change every day."""
    return Record("instrument", symbol, _text({name: market.get(name) for name in MARKET_FIELDS}))


def unlisted_record(symbol: str) -> Record:
    """Return the record of a name that the exchange does not list."""
    return Record("unlisted", symbol, _text({"symbol": symbol}))


def trade_key(row: Row) -> str:
    """Return a trade's own key, within its account.

    The exchange's id alone is not unique: binance numbers each symbol's trades from 1. Hyperliquid
    hashes the two orders, which may match again. Both sides of a self-trade share an id.
    """
    return _key(row, "symbol", "timestamp", "id", "side")


def funding_key(row: Row) -> str:
    """Return a payment's own key, within its account. Hyperliquid's id is the same for all."""
    return _key(row, "symbol", "timestamp", "id")


def _key(row: Row, *names: str) -> str:
    parts = [str(row.get(name) or "") for name in names]
    if "timestamp" in names and not row.get("id"):
        parts.append(hashlib.sha256(_text(row["info"]).encode()).hexdigest()[:16])
    return "/".join(parts)


def _record(
    kind: str, key: str, row: Row, fields: Sequence[str], more: Mapping[str, object] | None = None
) -> Record:
    """Return the record of a row: ccxt's fields, and the exchange's whole row."""
    payload = {name: row.get(name) for name in fields} | dict(more or {}) | {"info": row["info"]}
    return Record(kind, key, _text(payload), instant_of(row))


def _text(payload: Mapping[str, object]) -> str:
    try:
        return payload_text(payload)
    except TypeError as error:
        raise VenueError(f"{error}: ccxt does not keep its digits") from None


def instant_of(row: Row) -> datetime | None:
    """Return the approximate time of a row, or None if it has no valid one."""
    stamp = stamp_of(row)
    if stamp is None or not 0 <= stamp < FAR_FUTURE_MS:
        return None
    return EPOCH + stamp // 1000 * 1000 * MILLISECOND
