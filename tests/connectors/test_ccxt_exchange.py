"""The connector for any exchange of ccxt's, over the four whose ways of paging differ most."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, timedelta
from typing import Any

import ccxt
import pytest

from connectors.ccxt_exchange.client import ExchangeKey, ExchangeSettings, checked_answer
from connectors.ccxt_exchange.connector import CcxtExchange
from connectors.ccxt_exchange.exchanges import Paging, exchange_facts
from connectors.ccxt_exchange.records import trade_key, trade_record
from connectors.retry import RetryPolicy
from recon.core.records import Coverage, Record
from recon.errors import VenueBusy, VenueError, VenueRefused
from tests.support.exchanges import PAGES, SERVERS, TRADES, busy_book, connector, fetched
from tests.support.fleet import NOW, OPENING
from tests.support.servers import binanceusdm, bybit, hyperliquid, kraken
from tests.support.servers.binanceusdm import BinanceServer
from tests.support.servers.bybit import BybitServer
from tests.support.servers.ccxt_server import Asked, Book, CcxtServer, FaultKind, Json
from tests.support.servers.hyperliquid import HyperliquidServer
from tests.support.servers.kraken import KrakenServer

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HASTY = RetryPolicy(
    request_timeout_s=0.3,
    attempts=2,
    first_wait_s=0.01,
    longest_wait_s=0.02,
    total_s=5.0,
    is_rate_limited=False,
)
FAULTS: tuple[FaultKind, ...] = (
    "busy",
    "status_500",
    "empty",
    "html",
    "truncated",
    "no_rows",
    "null",
)


def trades(records: list[Record]) -> list[dict[str, Any]]:
    return [json.loads(record.payload) for record in records if record.kind == "trade"]


def reported(records: list[Record]) -> list[tuple[str, ...]]:
    """Return what the records say of each trade."""
    fields = ("symbol", "side", "amount", "price", "timestamp")
    return sorted(tuple(str(row[name]) for name in fields) for row in trades(records))


def happened(book: Book) -> list[tuple[str, ...]]:
    return sorted((d.symbol, d.side, d.qty, d.price, str(d.at_ms)) for d in book.shown)


def only(statements: list[Coverage]) -> Coverage:
    [statement] = statements
    return statement


@pytest.mark.parametrize("exchange", SERVERS)
@pytest.mark.parametrize("over", [None, 1 - 10**9, -1, 0, 1, "many"])
def test_every_trade_comes_once(exchange: str, over: int | str | None) -> None:
    page = PAGES[exchange]
    counts = {None: 0, 1 - 10**9: 1, -1: page - 1, 0: page, 1: page + 1, "many": 2 * page + 37}
    count = counts[over]
    book = busy_book(SERVERS[exchange].symbols, count, group=3)
    records, said = fetched(SERVERS[exchange](book, is_disordered=True))
    statement = only(said["trade"])
    assert (statement.status, statement.reason) == ("complete", "")
    assert statement.rows == count
    assert reported(records) == happened(book)
    assert len({record.id for record in records}) == len(records)


@pytest.mark.parametrize("exchange", ["binanceusdm", "bybit", "kraken"])
def test_a_millisecond_with_more_rows_than_a_page_is_read_whole(exchange: str) -> None:
    book = busy_book(SERVERS[exchange].symbols, PAGES[exchange] * 5, group=10**6)
    first = book.trade(SERVERS[exchange].symbols[0], "buy", 1, 99, OPENING)
    second = book.trade(SERVERS[exchange].symbols[1], "buy", 1, 99, OPENING)
    book.deals.remove(first)
    book.deals.remove(second)
    # Ids rise with time: what was traded first has the smallest ones.
    book.deals += [replace(first, id=1), replace(second, id=2)]
    records, said = fetched(SERVERS[exchange](book))
    assert [one.status for one in said["trade"]] == ["complete"]
    assert reported(records) == happened(book)


@pytest.mark.parametrize("exchange", ["binanceusdm", "hyperliquid"])
def test_a_millisecond_that_cannot_be_parted_is_said(exchange: str) -> None:
    book = busy_book(SERVERS[exchange].symbols[:1], PAGES[exchange] + 1, group=10**6)
    last = book.trade(SERVERS[exchange].symbols[0], "sell", 1, 99, OPENING + 5 * HOUR)
    records, said = fetched(SERVERS[exchange](book))
    statement = said["trade"][0]
    assert statement.status == "partial"
    assert "share the millisecond 2026-05-01 02:00:00.000" in statement.reason
    assert statement.served_to == OPENING + HOUR
    assert str(last.at_ms) in {row["timestamp"] for row in trades(records)}


def test_of_more_fills_than_hyperliquid_keeps_the_newest_are_whole() -> None:
    book = busy_book([hyperliquid.BTC], hyperliquid.NEWEST + 50, group=2)
    records, said = fetched(HyperliquidServer(book))
    statement = only(said["trade"])
    assert statement.status == "partial"
    assert "serves only the newest 10000" in statement.reason
    oldest = min(int(row["timestamp"]) for row in trades(records))
    assert statement.served_from.timestamp() * 1000 == pytest.approx(oldest + 1)
    assert len(trades(records)) == hyperliquid.NEWEST


def test_what_lies_further_back_than_is_served_is_said() -> None:
    book = busy_book(binanceusdm.BinanceServer.symbols, 4)
    _, said = fetched(BinanceServer(book), since=date(2025, 10, 1))
    assert [one.status for one in said["trade"]] == ["partial"]
    assert only(said["trade"]).served_from == NOW - 179 * DAY
    assert "known to serve only 179 days" in only(said["trade"]).reason
    assert only(said["funding"]).served_from == NOW - 89 * DAY


@pytest.mark.parametrize("exchange", SERVERS)
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_that_passes_changes_nothing(exchange: str, kind: FaultKind) -> None:
    book = busy_book(SERVERS[exchange].symbols, 170 if PAGES[exchange] <= 100 else 12)
    server = SERVERS[exchange](book)
    server.fault(TRADES[exchange], kind, times=2, after=1)
    records, said = fetched(server)
    assert [one.status for one in said["trade"]] == ["complete"]
    assert reported(records) == happened(book)


@pytest.mark.parametrize("exchange", SERVERS)
@pytest.mark.parametrize("kind", [*FAULTS, "drip"])
def test_a_fault_that_stays_is_never_an_empty_page(exchange: str, kind: FaultKind) -> None:
    server = SERVERS[exchange](busy_book(SERVERS[exchange].symbols, 5))
    server.fault(TRADES[exchange], kind)
    records, said = fetched(server, HASTY)
    assert {one.status for one in said["trade"]} == {"failed"}
    assert only(said["trade"]).reason
    assert trades(records) == []
    # Positions that belong to no trades are no evidence.
    assert [one.status for one in said["position"]] == ["failed"]


PLACES = {
    "binanceusdm": {"positionRisk": "position", "v3/account": "position", "income": "funding"},
    "bybit": {"position/list": "position", "wallet-balance": "position"},
    "kraken": {"BalanceEx": "coin"},
    "hyperliquid": {"clearinghouse": "position", "userFunding": "funding"},
}


@pytest.mark.parametrize(
    ("exchange", "path"), [(name, path) for name, paths in PLACES.items() for path in paths]
)
@pytest.mark.parametrize("kind", ["no_rows", "html", "busy"])
def test_other_evidence_that_does_not_come_is_failed(
    exchange: str, path: str, kind: FaultKind
) -> None:
    server = SERVERS[exchange](busy_book(SERVERS[exchange].symbols, 5))
    server.fault(path, kind)
    records, said = fetched(server, HASTY)
    of = PLACES[exchange][path]
    assert [one.status for one in said[of]] == ["failed"]
    assert [record for record in records if record.kind == of] == []
    assert only(said["trade"]).status == "complete"


@pytest.mark.parametrize("exchange", SERVERS)
def test_a_trade_while_the_positions_are_read_is_found(exchange: str) -> None:
    book = busy_book(SERVERS[exchange].symbols, 5)
    positions = {"bybit": "position/list", "kraken": "BalanceEx"}.get(exchange, "position")
    positions = "clearinghouse" if exchange == "hyperliquid" else positions

    def trade_once(asked: Asked) -> None:
        if positions in asked.path and len(book.deals) == 5:
            book.trade(SERVERS[exchange].symbols[0], "buy", 1, 50, NOW - timedelta(seconds=1))

    records, said = fetched(SERVERS[exchange](book, before_answer=trade_once))
    assert [one.status for one in said["trade"]] == ["complete", "complete"]
    assert reported(records) == happened(book)
    assert {one.status for one in said["position"]} == {"complete"}
    held = {
        row["symbol"]: row["contracts"] for row in map(json.loads, of_kind(records, "position"))
    }
    if exchange != "kraken":
        assert held[SERVERS[exchange].symbols[0]] == str(
            float(book.held()[SERVERS[exchange].symbols[0]])
        )


def of_kind(records: list[Record], kind: str) -> list[str]:
    return [record.payload for record in records if record.kind == kind]


def test_an_account_that_never_rests_has_no_positions() -> None:
    book = busy_book([bybit.BTC], 3)

    def trade_on(asked: Asked) -> None:
        if "position" in asked.path:
            book.trade(bybit.BTC, "buy", 1, 50, NOW - timedelta(seconds=1))

    _, said = fetched(BybitServer(book, before_answer=trade_on))
    assert only(said["position"]).status == "failed"
    assert "traded during each request" in only(said["position"]).reason


def test_rows_that_move_the_others_on_are_counted_again() -> None:
    book = busy_book(KrakenServer.symbols, 120)

    def trade_between_pages(asked: Asked) -> None:
        if asked.query.get("ofs") == "50" and len(book.deals) == 120:
            book.trade(kraken.BTC, "sell", 1, 70, NOW - HOUR)

    records, said = fetched(KrakenServer(book, before_answer=trade_between_pages))
    assert [one.status for one in said["trade"]] == ["complete"]
    assert reported(records) == happened(book)


def test_a_trade_that_shows_up_late_is_a_fact_of_the_next_fetch() -> None:
    book = busy_book([bybit.BTC], 4)
    book.hidden = {book.deals[2].id}
    before, _ = fetched(BybitServer(book))
    book.hidden = set()
    after, _ = fetched(BybitServer(book))
    assert len(trades(after)) == len(trades(before)) + 1
    assert set(before) < set(after) | {one for one in before if one.kind == "position"}


def test_a_liquidation_is_a_trade() -> None:
    book = busy_book([bybit.BTC], 6)
    records, said = fetched(BybitServer(book, liquidations=frozenset({book.deals[3].id})))
    assert reported(records) == happened(book)
    assert only(said["trade"]).rows == 6
    assert [row["info"]["execType"] for row in trades(records)].count("BustTrade") == 1


class Circular(BybitServer):
    def answer(self, asked: Asked) -> Json:
        answer = super().answer(asked)
        if answer is not None and answer["result"].get("nextPageCursor"):
            answer["result"]["nextPageCursor"] = "100%3A1"
        return answer


class Timeless(HyperliquidServer):
    """Takes no notice of where a span ends."""

    def answer(self, asked: Asked) -> Json:
        return super().answer(asked._replace(query={**asked.query, "endTime": "99999999999999"}))


class Forgetful(HyperliquidServer):
    """Loses rows of shorter spans."""

    def answer(self, asked: Asked) -> Json:
        answer = super().answer(asked)
        if not asked.path.endswith("userFillsByTime"):
            return answer
        span = int(asked.query["endTime"]) - int(asked.query["startTime"])
        return answer[:-1] if span < 10 * DAY / timedelta(milliseconds=1) else answer


class Fickle(BinanceServer):
    """Reports another fee of a trade each time."""

    def answer(self, asked: Asked) -> Json:
        answer = super().answer(asked)
        if asked.path.endswith("userTrades"):
            answer = [row | {"commission": str(len(self.requests))} for row in answer]
        return answer


@pytest.mark.parametrize(
    ("server", "count", "reason"),
    [
        (Circular, 350, "name the same next page"),
        (Timeless, 2500, "outside the requested times"),
        (Forgetful, 2500, "rows of one page are missing in the next"),
        (Fickle, 2500, "differs between two pages"),
    ],
)
def test_answers_that_contradict_each_other_are_no_evidence(
    server: type[CcxtServer], count: int, reason: str
) -> None:
    book = busy_book(server.symbols[:1], count, group=2, gap=timedelta(seconds=20))
    _, said = fetched(server(book), HASTY)
    assert said["trade"][0].status == "failed"
    assert reason in said["trade"][0].reason


def test_pages_of_an_unknown_size_are_never_whole() -> None:
    def unknown(source: CcxtExchange) -> None:
        source._exchange = replace(source._exchange, trades=Paging(longest=7 * DAY))

    book = busy_book(BinanceServer.symbols, 5)
    records, said = fetched(BinanceServer(book), change=unknown)
    assert reported(records) == happened(book)
    assert {one.status for one in said["trade"]} == {"partial"}
    assert only(said["trade"]).served_from == only(said["trade"]).served_to
    assert "no page is known to be complete" in said["trade"][0].reason
    _, said = fetched(BinanceServer(Book()), change=unknown)
    assert only(said["trade"]).status == "complete"


def declared(page: int) -> Callable[[CcxtExchange], None]:
    """Return a change to what is known of an exchange of which only ccxt says anything."""
    paging = Paging(page=page, longest=7 * DAY, is_declared_alone=True)

    def change(source: CcxtExchange) -> None:
        source._exchange = replace(source._exchange, trades=paging)

    return change


class Stingy(BinanceServer):
    """Holds fewer rows a page than is declared for it."""

    def answer(self, asked: Asked) -> Json:
        answer = super().answer(asked)
        return answer[:40] if asked.path.endswith("userTrades") else answer


def test_a_page_that_is_smaller_than_declared_is_noticed() -> None:
    book = busy_book([binanceusdm.BTC], 90, gap=HOUR)
    _, said = fetched(Stingy(book), change=declared(1000))
    assert said["trade"][0].status == "failed"
    assert "a page of 40 rows is not whole, though 1000 are declared" in said["trade"][0].reason
    records, said = fetched(BinanceServer(book), change=declared(20))
    assert {one.status for one in said["trade"]} == {"complete"}
    assert reported(records) == happened(book)


def test_binance_s_futures_are_known_by_both_names() -> None:
    plain, futures = (exchange_facts(name, "swap", None) for name in ("binance", "binanceusdm"))
    assert (plain.trades, plain.funding, plain.stated) == (
        futures.trades,
        futures.funding,
        futures.stated,
    )
    spot = exchange_facts("binance", None, None)
    assert (spot.trades.longest, spot.funding, spot.has_positions) == (DAY, None, False)


def test_how_far_back_is_served_is_not_taken_for_granted() -> None:
    assert exchange_facts("gate", "swap", None).trades.back == 30 * DAY
    assert exchange_facts("mexc", "swap", None).trades.back == 90 * DAY


@pytest.mark.parametrize("funding", [None, Paging(longest=7 * DAY)])
def test_funding_that_cannot_be_known_is_not_zero(funding: Paging | None) -> None:
    def unknown(source: CcxtExchange) -> None:
        source._exchange = replace(source._exchange, funding=funding)

    _, said = fetched(BinanceServer(busy_book(BinanceServer.symbols, 5)), change=unknown)
    assert only(said["funding"]).status == "failed"
    assert "funding of BTC/USDT:USDT, ETH/USDT:USDT is unknown" in only(said["funding"]).reason
    _, said = fetched(BinanceServer(Book()), change=unknown)
    assert only(said["funding"]).status == "complete"


def test_positions_that_cannot_be_known_are_not_none() -> None:
    def unknown(source: CcxtExchange) -> None:
        source._exchange = replace(source._exchange, has_positions=False)

    _, said = fetched(BinanceServer(busy_book([binanceusdm.BTC], 5)), change=unknown)
    assert only(said["position"]).status == "failed"
    assert "the positions in BTC/USDT:USDT are unknown" in only(said["position"]).reason
    _, said = fetched(KrakenServer(busy_book([kraken.BTC], 5)))
    assert only(said["position"]).status == "complete"


def test_funding_of_a_symbol_that_is_not_named_is_noticed() -> None:
    book = busy_book([binanceusdm.BTC], 3)
    book.pay(binanceusdm.ETH, "-0.5", OPENING + DAY)

    def one_symbol(source: CcxtExchange) -> None:
        source._symbols = (binanceusdm.BTC,)

    _, said = fetched(BinanceServer(book), change=one_symbol)
    assert only(said["funding"]).status == "partial"
    assert "funding was paid for ETH/USDT:USDT" in only(said["funding"]).reason


@pytest.mark.parametrize("exchange", ["binanceusdm", "bybit", "hyperliquid"])
def test_more_payments_than_a_page_are_all_read(exchange: str) -> None:
    book = busy_book(SERVERS[exchange].symbols, 3)
    for hour in range(300):
        for symbol in (
            SERVERS[exchange].symbols * 4
            if exchange != "hyperliquid"
            else SERVERS[exchange].symbols
        ):
            book.pay(symbol, f"-0.{hour + 1:04d}", OPENING + hour * HOUR)
    records, said = fetched(SERVERS[exchange](book))
    assert only(said["funding"]).status == "complete"
    payments = [json.loads(text) for text in of_kind(records, "funding")]
    assert len(payments) == len(book.payments)
    assert sorted(row["timestamp"] for row in payments) == sorted(
        str(one.at_ms) for one in book.payments
    )


@pytest.mark.parametrize(
    ("name", "key", "symbols", "lacks"),
    [
        ("binanceusdm", ExchangeKey(), (), ["api_key", "api_secret", "symbols"]),
        ("bybit", ExchangeKey("k", "s"), (), []),
        ("bitget", ExchangeKey("k", "s"), ("BTC/USDT",), ["passphrase"]),
        ("hyperliquid", ExchangeKey(), (), ["wallet_address"]),
        ("kraken", ExchangeKey("k"), (), ["api_secret"]),
    ],
)
def test_what_an_exchange_needs_is_known_before_it_is_asked(
    name: str, key: ExchangeKey, symbols: tuple[str, ...], lacks: list[str]
) -> None:
    source = CcxtExchange("desk", key, ExchangeSettings(name), symbols=symbols, now=lambda: NOW)
    assert [each.partition(",")[0] for each in source.lacks()] == lacks


def test_an_exchange_without_trades_is_refused() -> None:
    source = CcxtExchange("desk", ExchangeKey("k", "s"), ExchangeSettings("upbit"), now=lambda: NOW)
    [item] = asyncio.run(source.check())
    assert "cannot read an account's trades at upbit" in item.detail


def test_every_exchange_can_be_asked_for_its_facts() -> None:
    facts = [exchange_facts(name, None, None) for name in ccxt.exchanges]
    assert len(facts) > 100
    assert sum(one.has_trades and one.trades.page is not None for one in facts) > 70


@pytest.mark.parametrize("exchange", SERVERS)
def test_secrets_are_in_no_log(exchange: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        fetched(SERVERS[exchange](busy_book(SERVERS[exchange].symbols, 3)))
    server = SERVERS[exchange](Book())
    assert not any(value in caplog.text for value in server.key().values() if value[:2] != "0x")
    assert "loopback" not in repr(ExchangeKey("loopback-key", "loopback-secret"))


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("", 200, VenueBusy),
        ("null", 200, VenueBusy),
        ("12", 200, VenueBusy),
        ("<html>", 200, VenueBusy),
        ('{"a":', 200, VenueBusy),
        ("{}", 403, VenueRefused),
        ("{}", 451, VenueRefused),
    ],
)
def test_what_is_no_answer_is_an_error(body: str, status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        checked_answer(status, "/x", body)


def test_a_key_that_is_refused_ends_the_fetch() -> None:
    class Closed(KrakenServer):
        def answer(self, asked: Asked) -> Json:
            answer = super().answer(asked)
            return answer if "public" in asked.path else {"error": ["EAPI:Invalid key"]}

    with pytest.raises(VenueRefused, match="AuthenticationError"):
        fetched(Closed(Book()))


def test_the_check_names_a_symbol_that_is_not_listed() -> None:
    async def checked(server: CcxtServer, change: Callable[[CcxtExchange], None]) -> str:
        async with server:
            source = connector(server)
            change(source)
            [item] = await source.check()
            return item.detail

    def misspelt(source: CcxtExchange) -> None:
        source._symbols = ("BTCUSDT",)

    assert "lists no BTCUSDT" in asyncio.run(checked(BinanceServer(Book()), misspelt))
    assert "reached" in asyncio.run(checked(BinanceServer(Book()), lambda _source: None))


def test_times_are_utc() -> None:
    records, _ = fetched(BybitServer(busy_book([bybit.BTC], 2)))
    assert {record.at.tzinfo for record in records if record.at} == {UTC}


def test_a_float_is_refused() -> None:
    row = {"symbol": "X", "timestamp": 1, "id": "1", "side": "buy", "amount": 0.1, "info": {}}
    with pytest.raises(VenueError, match="ccxt does not keep its digits"):
        trade_record(trade_key(row), row)


def test_a_key_is_made_of_what_tells_trades_apart() -> None:
    row: dict[str, Any] = {"symbol": "X", "timestamp": 1, "id": "1", "side": "buy", "info": {}}
    others: list[dict[str, Any]] = [{"symbol": "Y"}, {"timestamp": 2}, {"id": "2"}, {"side": "b"}]
    assert len({trade_key(row | other) for other in ({}, *others)}) == 5
    unnamed = row | {"id": None}
    assert trade_key(unnamed) != trade_key(unnamed | {"info": {"price": "1"}})
