"""freqtrade's mapping, in each era's shape: its trades, and which of them may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.bot_databases.postgres import PostgresReader
from connectors.bot_databases.snapshot import WholeBooks
from connectors.bot_databases.sqlite import SqliteDatabase
from recon.bot_databases.mappings import find_mapping
from recon.bot_databases.run_mapping import MappingAnswers, Problem, read_books, unpack
from recon.core.records import Coverage, Record, Session, Table, Window
from recon.errors import BotDatabaseError
from recon.system.resources import sql_root
from tests.support import bots
from tests.support.bots import mapped
from tests.support.freqtrade import (
    ERAS,
    LONG_SWAP,
    ORDERS_2021,
    ORDERS_2022,
    ORDERS_TODAY,
    TRADES_2019,
    TRADES_2021,
    TRADES_2022,
    TRADES_TODAY,
    Freqtrade,
    Row,
    order,
    without,
    write,
)
from tests.support.servers.postgres import PASSWORD, PostgresServer

NOW = datetime(2026, 5, 15, tzinfo=UTC)
DAY = Session(date(2026, 5, 14), datetime(2026, 5, 14, tzinfo=UTC), NOW)


def snapshot(path: Path) -> list[Record | Table | Coverage]:
    async def drain() -> list[Record | Table | Coverage]:
        books = SqliteDatabase("btcq", path, now=lambda: NOW)
        return [one async for one in books.fetch(Window(DAY, DAY))]

    return asyncio.run(drain())


def freqtrade(
    folder: Path,
    trades: str,
    rows: Iterable[Row],
    orders: str | None = None,
    order_rows: Iterable[Row] = (),
) -> MappingAnswers:
    path = write(folder / "freqtrade.sqlite", trades, rows, orders, order_rows)
    return read_books(find_mapping("freqtrade", folder), *unpack(snapshot(path)))


class TestFreqtrade:
    def test_2019_works_the_profit_out(self, tmp_path: Path) -> None:
        row = without(LONG_SWAP, "close_profit_abs", "is_short", "trading_mode", "funding_fees") | {
            "exchange": "binance",
            "pair": "ETH/BTC",
        }
        books = freqtrade(tmp_path, TRADES_2019, [row, row | {"id": 2, "is_open": 1}])
        assert books.variant.name == "no_orders"
        (trade,) = books.trades.to_pylist()
        assert trade == {
            "trade_id": "1",
            "instrument": "ETH/BTC",
            "side": "long",
            "qty": Decimal("0.03"),
            "opened_at": datetime(2026, 5, 13, 8, 0, 0, 123456),  # UTC by contract
            "closed_at": datetime(2026, 5, 14, 9, 0, 0, 1),
            "entry_price": Decimal("60000.5"),
            "exit_price": Decimal("61000.5"),
            "gross": Decimal(30),
            "fee": Decimal("-1.815015"),
            "funding": None,
            "pnl": Decimal("28.184985"),
            "order_ids": None,
        }
        assert books.fills is None
        assert books.positions is not None
        assert books.positions.to_pylist() == [
            {"instrument": "ETH/BTC", "qty": Decimal("0.03"), "avg_price": Decimal("60000.5")}
        ]

    def test_2021_takes_the_profit_shown(self, tmp_path: Path) -> None:
        row = without(LONG_SWAP, "is_short", "trading_mode", "funding_fees")
        spot = row | {"pair": "LTC/USDT", "close_profit_abs": 28.18498500}
        # A cost in another currency than it says: of no account.
        spot |= {"fee_open_cost": 12345.0, "fee_open_currency": "BNB"}
        orders = [
            order("b1", "buy", 0.03, 60000.5),
            order("s0", "sell", 0.0, 62000.0),
            order("s1", "stoploss", 0.03, 61000.5) | {"side": "sell"},
        ]
        books = freqtrade(tmp_path, TRADES_2021, [spot], ORDERS_2021, orders)
        assert books.variant.name == "spot"
        (trade,) = books.trades.to_pylist()
        assert trade["instrument"] == "LTC-USDT"
        assert trade["pnl"] == Decimal("28.184985")
        assert trade["fee"] == Decimal("-1.815015")
        assert trade["gross"] == Decimal(30)
        assert trade["funding"] is None
        assert trade["order_ids"] == ["b1", "s1"]
        assert books.fills is not None
        assert [
            (fill["fill_id"], fill["side"], fill["fee"]) for fill in books.fills.to_pylist()
        ] == [
            ("b1", "buy", None),
            ("s1", "sell", None),
        ]

    @pytest.mark.parametrize("era", ["leveraged", "today"])
    def test_futures_and_shorts(self, tmp_path: Path, era: str) -> None:
        short = LONG_SWAP | {"id": 2, "is_short": 1, "pair": "ETH/USDT:USDT"}
        spot = LONG_SWAP | {"id": 3, "trading_mode": "SPOT", "funding_fees": None}
        margin = LONG_SWAP | {"id": 4, "trading_mode": "MARGIN"}
        unknown = LONG_SWAP | {"id": 5, "funding_fees": None}
        rows = [LONG_SWAP, short, spot, margin, unknown]
        shape = (TRADES_2022, ORDERS_2022) if era == "leveraged" else (TRADES_TODAY, ORDERS_TODAY)
        if era == "today":
            rows = [row | {"realized_profit": row["close_profit_abs"]} for row in rows]
        orders = [order("b1", "buy", 0.03, 99.0, average=60000.5)]
        books = freqtrade(tmp_path, shape[0], rows, shape[1], orders)
        assert books.variant.name == era
        trades = {trade["trade_id"]: trade for trade in books.trades.to_pylist()}
        assert trades["1"]["instrument"] == "BTC-USDT-SWAP"
        assert trades["1"]["funding"] == Decimal("-1.25")
        assert trades["1"]["gross"] == Decimal(30)
        assert (trades["2"]["side"], trades["2"]["fee"]) == ("short", Decimal("-1.815015"))
        assert trades["3"]["gross"] == Decimal("28.75")
        assert trades["3"]["funding"] is None
        assert trades["4"]["gross"] is None
        assert (trades["5"]["funding"], trades["5"]["gross"]) == (None, None)
        assert all(trade["pnl"] == Decimal("26.934985") for trade in trades.values())
        assert books.fills is not None
        assert books.fills["price"].to_pylist() == [Decimal("60000.5")]

    def test_partial_exits_are_one_row_of_the_whole_profit(self, tmp_path: Path) -> None:
        row = LONG_SWAP | {
            "amount": 0.01,
            "close_profit_abs": 5.0,
            "realized_profit": 25.5,
            "funding_fees": -0.5,
        }
        orders = [
            order("b1", "buy", 0.03, 60000.0),
            order("s1", "sell", 0.02, 61000.0, average=61000.5),
            order("s2", "sell", 0.01, 60500.0),
        ]
        books = freqtrade(tmp_path, TRADES_TODAY, [row], ORDERS_TODAY, orders)
        (trade,) = books.trades.to_pylist()
        fee = -(Decimal("1800.00") + Decimal("1220.01") + Decimal("605.00")) * Decimal("0.0005")
        assert trade["pnl"] == Decimal("25.5")
        assert trade["qty"] == Decimal("0.03")
        assert trade["exit_price"] is None
        assert trade["fee"] == fee
        assert trade["gross"] == Decimal("25.5") - fee + Decimal("0.5")
        assert trade["order_ids"] == ["b1", "s1", "s2"]

    def test_a_part_closed_of_an_open_trade_is_realised(self, tmp_path: Path) -> None:
        row = LONG_SWAP | {
            "is_open": 1,
            "close_date": None,
            "close_rate": None,
            "amount": 0.01,
            "close_profit_abs": 20.0,
            "realized_profit": 20.0,
        }
        untouched = row | {"id": 2, "close_profit_abs": None, "realized_profit": 0.0, "is_short": 1}
        orders = [
            order("b1", "buy", 0.03, 60000.0),
            order("s1", "sell", 0.02, 61000.5, order_filled_date="2026-05-14 11:00:00"),
        ]
        books = freqtrade(tmp_path, TRADES_TODAY, [row, untouched], ORDERS_TODAY, orders)
        (trade,) = books.trades.to_pylist()
        assert trade["closed_at"] == datetime(2026, 5, 14, 11)  # UTC by contract
        assert (trade["qty"], trade["pnl"]) == (Decimal("0.02"), Decimal(20))
        assert (trade["fee"], trade["funding"], trade["gross"]) == (None, None, None)
        assert books.positions is not None
        (position,) = books.positions.to_pylist()
        assert position == {"instrument": "BTC-USDT-SWAP", "qty": Decimal(0), "avg_price": None}

    def test_an_order_without_a_price_leaves_the_fee_unknown(self, tmp_path: Path) -> None:
        orders = [
            order("b1", "buy", 0.03, 60000.0),
            order("s1", "sell", 0.02, 61000.5) | {"price": None},
            order("s2", "sell", 0.01, 60500.0),
        ]
        row = LONG_SWAP | {"realized_profit": 25.5}
        books = freqtrade(tmp_path, TRADES_TODAY, [row], ORDERS_TODAY, orders)
        assert (books.trades["fee"][0].as_py(), books.trades["gross"][0].as_py()) == (None, None)
        assert Problem("fills", "s1", "price is null") in books.problems

    def test_books_without_a_trade_are_no_trades(self, tmp_path: Path) -> None:
        books = freqtrade(tmp_path, TRADES_TODAY, [], ORDERS_TODAY)
        assert books.trades.num_rows == 0
        assert books.problems == ()

    def test_a_trade_without_a_profit_is_a_problem(self, tmp_path: Path) -> None:
        row = LONG_SWAP | {"close_profit_abs": None, "close_date": None}
        books = freqtrade(tmp_path, TRADES_TODAY, [row], ORDERS_TODAY)
        assert set(books.problems) == {
            Problem("trades", "1", "closed_at is null"),
            Problem("trades", "1", "pnl is null"),
        }
        assert books.trades["pnl"].to_pylist() == [None]

    def test_auto_recognises_it(self, tmp_path: Path) -> None:
        freqtrade(tmp_path, TRADES_TODAY, [LONG_SWAP], ORDERS_TODAY)
        schema, _ = unpack(snapshot(tmp_path / "freqtrade.sqlite"))
        chosen = find_mapping("auto", tmp_path).choose(schema)
        assert chosen.folder == sql_root() / "mappings" / "freqtrade" / "with_shorts" / "today"

    def test_what_is_missing_is_named(self, tmp_path: Path) -> None:
        trades = TRADES_2019.replace("close_rate float,", "")
        row = without(
            LONG_SWAP, "close_rate", "close_profit_abs", "is_short", "trading_mode", "funding_fees"
        )
        with pytest.raises(BotDatabaseError, match=r"no_orders, lacks trades\.close_rate:"):
            freqtrade(tmp_path, trades, [row])


@pytest.mark.parametrize("era", ERAS)
def test_on_postgresql_it_says_the_same(era: str, tmp_path: Path, postgres: PostgresServer) -> None:
    bot = Freqtrade(tmp_path / "bot.sqlite", era, seed=7)
    bot.live(NOW - timedelta(days=9), NOW, events=60)
    tables = {"trades": (bot.trades_declared, bot.trades)}
    if bot.orders_declared:
        tables["orders"] = (bot.orders_declared, bot.orders)
    database = postgres.database(
        *(f"create table {name} ({_typed(declared)})" for name, (declared, _) in tables.items())
    )
    with closing(postgres.connected(database)) as server:
        for name, (declared, rows) in tables.items():
            columns = [one.split()[0] for one in declared.split(",")]
            query = f"insert into {name} values ({', '.join(['%s'] * len(columns))})"
            for row in rows.values():
                flags = {one: None if row.get(one) is None else bool(row[one]) for one in _FLAGS}
                server.execute(query.encode(), [{**row, **flags}.get(one) for one in columns])
    reader = PostgresReader(postgres.url(database), PASSWORD)
    there = mapped("auto", bots.snapshot(WholeBooks("b", reader, now=lambda: NOW)))
    here = mapped("auto", snapshot(bot.path))
    assert here.trades.num_rows > 10
    assert there == here


_FLAGS = ("is_open", "is_short")


def _typed(declared: str) -> str:
    """Return the columns as SQLAlchemy declares them to PostgreSQL."""
    return declared.replace(" float", " double precision").replace(" datetime", " timestamp")
