"""One account at a loopback exchange, read by the connector alone or by a whole night."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from connectors.ccxt_exchange.client import ExchangeKey, ExchangeSettings
from connectors.ccxt_exchange.connector import CcxtExchange
from connectors.retry import RetryPolicy
from recon.config.settings import load
from recon.core.calendars import UtcDays, window
from recon.core.records import Coverage, Record
from recon.run.nightly import Night, run_night
from tests.support.fleet import AS_OF, MAPPING, NOW, OPENING, SINCE, Document, write_vault
from tests.support.reckoner import Fill, Funding, Outcome, Reckoner
from tests.support.servers.binanceusdm import BinanceServer
from tests.support.servers.bybit import BybitServer
from tests.support.servers.ccxt_server import Book, CcxtServer, Payment
from tests.support.servers.hyperliquid import HyperliquidServer
from tests.support.servers.kraken import KrakenServer

SERVERS: dict[str, type[CcxtServer]] = {
    server.exchange: server
    for server in (BinanceServer, BybitServer, KrakenServer, HyperliquidServer)
}
PAGES = {"binanceusdm": 1000, "bybit": 100, "kraken": 50, "hyperliquid": 2000}
CURRENCIES = {"binanceusdm": "USDT", "bybit": "USDT", "kraken": "USD", "hyperliquid": "USDC"}
TRADES = {
    "binanceusdm": "userTrades",
    "bybit": "execution",
    "kraken": "TradesHistory",
    "hyperliquid": "userFills",
}
"""What stands in the path under which each exchange shows trades."""


PATIENT = RetryPolicy(
    request_timeout_s=20.0,
    attempts=4,
    first_wait_s=0.01,
    longest_wait_s=0.05,
    total_s=120.0,
    is_rate_limited=False,
)
"""Waits long for an answer on a busy machine, and asks again at once."""


def connector(
    server: CcxtServer, patience: RetryPolicy = PATIENT, now: Callable[[], datetime] = lambda: NOW
) -> CcxtExchange:
    key = server.key()
    return CcxtExchange(
        "desk",
        ExchangeKey(
            key.get("api_key", ""), key.get("api_secret", ""), "", key.get("wallet_address", "")
        ),
        ExchangeSettings(
            server.exchange, currency=CURRENCIES[server.exchange], base_url=server.url
        ),
        symbols=_named(server),
        now=now,
        patience=patience,
    )


Change = Callable[[CcxtExchange], None]


def fetched(
    server: CcxtServer,
    patience: RetryPolicy = PATIENT,
    *,
    since: date = SINCE,
    change: Change = lambda _source: None,
) -> tuple[list[Record], dict[str, list[Coverage]]]:
    """Fetch from `since` on; return the records, and what was said of each kind, in order.

    `change` may change the connector before.
    """

    async def conversation() -> list[Record | Coverage]:
        async with server:
            source = connector(server, patience)
            change(source)
            found = [item async for item in source.fetch(window(UtcDays(), since, AS_OF))]
        assert server.violations == []
        return found

    items = asyncio.run(conversation())
    said: dict[str, list[Coverage]] = {}
    for item in items:
        if isinstance(item, Coverage):
            said.setdefault(item.kinds[0], []).append(item)
    return [item for item in items if isinstance(item, Record)], said


def busy_book(
    symbols: Sequence[str],
    count: int,
    *,
    group: int = 1,
    gap: timedelta = timedelta(milliseconds=1),
) -> Book:
    """Return a book of `count` deals, `group` of them at each instant, flat now and then."""
    book = Book()
    for turn in range(count):
        book.trade(
            symbols[turn % len(symbols)],
            "sell" if turn // 4 % 2 else "buy",
            f"0.{1 + turn % 7}",
            100 + turn % 51,
            OPENING + timedelta(hours=1) + turn // group * gap,
            fee=f"0.{1 + turn % 9:03d}",
        )
    return book


def reckoned(book: Book) -> dict[str, Fraction]:
    """Return gross, fees, funding and net of a book by average cost, in fractions."""
    history: dict[str, list[tuple[tuple[datetime, int], Fill | Funding]]] = {}
    for deal in book.deals:
        fill = Fill(deal.signed, Fraction(deal.price), -Fraction(deal.fee))
        history.setdefault(deal.symbol, []).append(((deal.at, deal.id), fill))
    for one in book.payments:
        history.setdefault(one.symbol, []).append(((one.at, -1), Funding(Fraction(one.amount))))
    outcomes: list[Outcome] = []
    for events in history.values():
        ordered = [event for _, event in sorted(events, key=lambda each: each[0])]
        outcomes += Reckoner("average").run(ordered)
    gross = sum((one.gross for one in outcomes), Fraction(0))
    fees = sum((one.fees for one in outcomes), Fraction(0))
    funding = sum((one.funding for one in outcomes), Fraction(0))
    return {"gross": gross, "fees": fees, "funding": funding, "net": gross + fees + funding}


def paid(payments: Sequence[Payment]) -> Fraction:
    return sum((Fraction(one.amount) for one in payments), Fraction(0))


def night(
    folder: Path,
    server: CcxtServer,
    *,
    claims: Sequence[tuple[datetime, str]] = (),
    more: str = "",
    instruments: Sequence[str] = (),
    **options: Any,
) -> Document:
    """Run one night over a server that is being served, and return its document."""
    path = folder / "recon.toml"
    path.write_text(_toml(folder, server, more, instruments or server.symbols), encoding="utf-8")
    (folder / "mapping").mkdir(exist_ok=True)
    (folder / "mapping" / "trades.sql").write_text(MAPPING, encoding="utf-8")
    write_vault(folder / "vaults" / "bot.sqlite", claims)
    settings: dict[str, Any] = {
        "as_of": AS_OF,
        "now": lambda: NOW,
        "patience": PATIENT,
        "is_paging": False,
    }
    return run_night(Night(load(path), **(settings | options)))


def _toml(folder: Path, server: CcxtServer, more: str, owned: Sequence[str]) -> str:
    lines = []
    for name, value in server.key().items():
        if name == "wallet_address":
            lines.append(f'{name} = "{value}"')
            continue
        secret = folder / name
        secret.write_text(value, encoding="utf-8")
        secret.chmod(0o600)
        lines.append(f'{name} = {{ file = "{name}" }}')
    symbols = ", ".join(f'"{name}"' for name in _named(server))
    instruments = ", ".join(f'"{name}"' for name in owned)
    return f"""
[[accounts]]
id = "desk"
venue = "{server.exchange}"
currency = "{CURRENCIES[server.exchange]}"
since = {SINCE}
base_url = "{server.url}"
symbols = [{symbols}]
{chr(10).join(lines)}
{more}

[[bots]]
id = "bot"
account = "desk"
instruments = [{instruments}]
database = "sqlite:///vaults/bot.sqlite"
mapping = "mapping"
"""


def _named(server: CcxtServer) -> tuple[str, ...]:
    """Return the symbols that have to be named: binance's."""
    return server.symbols if isinstance(server, BinanceServer) else ()
