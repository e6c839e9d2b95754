"""Mappings: chosen by columns, run behind a locked door, answered with the contract's columns."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.sqlite_books import SqliteBooks
from recon.books import (
    ANSWERS,
    BooksTables,
    Problem,
    exact_product,
    find_mapping,
    read_books,
    unpack,
)
from recon.domain import Record, Session, Window
from recon.errors import BooksError, ConfigError
from recon.resources import sql_root

NOW = datetime(2026, 5, 15, tzinfo=UTC)
DAY = Session(date(2026, 5, 14), datetime(2026, 5, 14, tzinfo=UTC), NOW)

TRADES_2019 = (
    "id integer primary key, exchange varchar, pair varchar, is_open boolean, fee_open float,"
    " fee_close float, open_rate float, close_rate float, close_profit float, amount float,"
    " open_date datetime, close_date datetime"
)
TRADES_2021 = (
    f"{TRADES_2019}, fee_open_cost float, fee_open_currency varchar, close_profit_abs float"
)
ORDERS_2021 = (
    "id integer primary key, ft_trade_id integer, ft_order_side varchar, ft_pair varchar,"
    " ft_is_open boolean, order_id varchar, status varchar, side varchar, price float,"
    " amount float, filled float, order_filled_date datetime"
)
TRADES_2022 = (
    f"{TRADES_2021}, is_short boolean, trading_mode varchar, funding_fees float, leverage float"
)
ORDERS_2022 = f"{ORDERS_2021}, average float"
TRADES_TODAY = f"{TRADES_2022}, realized_profit float, contract_size float"
ORDERS_TODAY = f"{ORDERS_2022}, ft_fee_base float, funding_fee float"

LONG_SWAP: dict[str, Any] = {
    "id": 1,
    "exchange": "okx",
    "pair": "BTC/USDT:USDT",
    "is_open": 0,
    "fee_open": 0.0005,
    "fee_close": 0.0005,
    "open_rate": 60000.5,
    "close_rate": 61000.5,
    "amount": 0.03,
    "open_date": "2026-05-13 08:00:00.123456",
    "close_date": "2026-05-14 09:00:00.000001",
    "close_profit_abs": 26.93498500,
    "is_short": 0,
    "trading_mode": "FUTURES",
    "funding_fees": -1.25,
}


def snapshot(path: Path) -> list[Record]:
    async def drain() -> list[Record]:
        books = SqliteBooks("btcq", path, now=lambda: NOW)
        return [one async for one in books.fetch(Window(DAY, DAY)) if isinstance(one, Record)]

    return asyncio.run(drain())


def insert(bot: sqlite3.Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        marks = ", ".join("?" * len(row))
        bot.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", tuple(row.values()))


def freqtrade(
    folder: Path,
    trades: str,
    rows: Sequence[dict[str, Any]],
    orders: str | None = None,
    order_rows: Sequence[dict[str, Any]] = (),
) -> BooksTables:
    path = folder / "freqtrade.sqlite"
    with closing(sqlite3.connect(path)) as bot:
        bot.execute(f"create table trades ({trades})")
        insert(bot, "trades", rows)
        if orders:
            bot.execute(f"create table orders ({orders})")
            insert(bot, "orders", order_rows)
        bot.commit()
    return read_books(find_mapping("freqtrade", folder), *unpack(snapshot(path)))


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def order(order_id: str, side: str, filled: float, price: float, **more: Any) -> dict[str, Any]:
    return {
        "ft_trade_id": 1,
        "ft_order_side": side,
        "side": side,
        "order_id": order_id,
        "filled": filled,
        "price": price,
        "order_filled_date": "2026-05-14 08:30:00",
        **more,
    }


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
            "opened_at": datetime(2026, 5, 13, 8, 0, 0, 123456),  # noqa: DTZ001  # UTC by contract
            "closed_at": datetime(2026, 5, 14, 9, 0, 0, 1),  # noqa: DTZ001
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
        assert trade["closed_at"] == datetime(2026, 5, 14, 11)  # noqa: DTZ001  # UTC by contract
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
        assert chosen.folder == sql_root() / "books" / "freqtrade" / "with_shorts" / "today"

    def test_what_is_missing_is_named(self, tmp_path: Path) -> None:
        trades = TRADES_2019.replace("close_rate float,", "")
        row = without(
            LONG_SWAP, "close_rate", "close_profit_abs", "is_short", "trading_mode", "funding_fees"
        )
        with pytest.raises(BooksError, match=r"no_orders, lacks trades\.close_rate:"):
            freqtrade(tmp_path, trades, [row])


QUERY = {
    "trade_id": "'1'",
    "instrument": "'BTC-USDT-SWAP'",
    "side": "'long'",
    "qty": "1",
    "opened_at": "null",
    "closed_at": "timestamp '2026-05-14 12:00:00'",
    "entry_price": "null",
    "exit_price": "null",
    "gross": "null",
    "fee": "null",
    "funding": "null",
    "pnl": "1.5",
    "order_ids": "null",
}
POSITION = {"instrument": "'a'", "qty": "1", "avg_price": "null"}
Table = dict[str, list[str | None]]


def select(columns: dict[str, str], source: str = "") -> str:
    return f"select {', '.join(f'{value} as {name}' for name, value in columns.items())} {source}"


def mapped(
    folder: Path,
    trades: str,
    *,
    types: Sequence[tuple[str, str]] = (("a", "BIGINT"),),
    rows: Table | None = None,
    **files: str,
) -> BooksTables:
    """Run a mapping of one's own over a single table, `bot.t`."""
    mapping = folder / "mapping"
    mapping.mkdir(exist_ok=True)
    for name, text in {"trades": trades, **files}.items():
        (mapping / f"{name}.sql").write_text(text, encoding="utf-8")
    values = rows if rows is not None else {name: [] for name, _ in types}
    table = pa.table({name: pa.array(column, pa.string()) for name, column in values.items()})
    return read_books(find_mapping("mapping", folder), {"t": types}, {"t": table})


class TestMappings:
    def test_an_unknown_one_lists_what_is_shipped(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"'frektrade' is neither.*freqtrade"):
            find_mapping("frektrade", tmp_path)

    def test_a_folder_without_trades_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        with pytest.raises(ConfigError, match=r"trades\.sql"):
            find_mapping("mine", tmp_path)

    def test_the_variant_that_asks_for_more_wins(self, tmp_path: Path) -> None:
        for name, columns in (("old", "a"), ("new", "a, B"), ("newest", "a, b, c")):
            (tmp_path / "mine" / name).mkdir(parents=True)
            text = f"-- requires: T({columns}); u(x)\nselect 1"
            (tmp_path / "mine" / name / "trades.sql").write_text(text, encoding="utf-8")
        mapping = find_mapping("mine", tmp_path)
        schema = {"t": [("A", "BIGINT"), ("b", "BIGINT")], "u": [("x", "BIGINT")]}
        assert mapping.choose(schema).folder.name == "new"
        with pytest.raises(BooksError, match=r"lacks t\.a, u\.x:"):
            mapping.choose({})

    def test_a_garbled_header_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "trades.sql").write_text("-- requires: trades\nselect 1", encoding="utf-8")
        with pytest.raises(ConfigError, match="write `-- requires"):
            find_mapping(".", tmp_path)


class TestAnswers:
    def test_types_are_fixed(self, tmp_path: Path) -> None:
        fills = dict.fromkeys(ANSWERS["fills"].names, "null")
        fills |= {'"at"': "null"}
        del fills["at"]
        books = mapped(
            tmp_path, select(QUERY), fills=select(fills), positions=select(POSITION) + ";"
        )
        assert books.trades.schema == ANSWERS["trades"]
        assert books.fills is not None
        assert books.fills.schema == ANSWERS["fills"]
        assert books.positions is not None
        assert books.positions.schema == ANSWERS["positions"]
        assert books.trades["pnl"].to_pylist() == [Decimal("1.5")]

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "-- nothing",
            f"{select(QUERY)}; {select(QUERY)}",
            "create table x as select 1",
            "copy bot.t to 'x.csv'",
            "attach 'x.db'",
            "with a as (select 1) insert into bot.t select * from a",
            "set lock_configuration = false",
            "drop table bot.t",
            "pragma database_list",
            "install httpfs",
        ],
    )
    def test_anything_but_one_select_is_refused(self, tmp_path: Path, query: str) -> None:
        with pytest.raises(BooksError, match=r"trades\.sql must be one select"):
            mapped(tmp_path, query)

    @pytest.mark.parametrize(
        "source",
        [
            "from read_text('/etc/hostname')",
            "from glob('/*')",
            "from read_csv('x.csv')",
            "from 'x.parquet'",
            "from rows",
            "from sqlite_scan('x.db', 't')",
        ],
    )
    def test_nothing_but_the_books_can_be_read(self, tmp_path: Path, source: str) -> None:
        with pytest.raises(BooksError, match=r"trades\.sql: (Permission|Catalog) Error"):
            mapped(tmp_path, select(QUERY, source))

    def test_what_duckdb_says_is_passed_on(self, tmp_path: Path) -> None:
        with pytest.raises(BooksError, match=r"trades\.sql: Binder Error: .*nope"):
            mapped(tmp_path, select(QUERY | {"pnl": "nope"}, "from bot.t"))
        with pytest.raises(BooksError, match=r"trades\.sql: Parser Error"):
            mapped(tmp_path, "selec 1")
        with pytest.raises(BooksError, match=r"trades\.sql: .*that is no number"):
            mapped(tmp_path, select(QUERY | {"pnl": "exact_product('1.5 BTC')"}))

    def test_missing_and_extra_columns_are_named(self, tmp_path: Path) -> None:
        columns = without(QUERY, "fee") | {"fees": "null"}
        with pytest.raises(BooksError, match=r"lacks fee; adds fees: its columns are trade_id"):
            mapped(tmp_path, select(columns))

    @pytest.mark.parametrize("value", ["1.5::double", "1.5::float", "true", "'1'::bignum"])
    def test_a_number_that_is_not_exact_is_refused(self, tmp_path: Path, value: str) -> None:
        with pytest.raises(BooksError, match=r"pnl is \w+, which is not exact: cast it to decimal"):
            mapped(tmp_path, select(QUERY | {"pnl": value}))

    def test_digits_past_the_eighteenth(self, tmp_path: Path) -> None:
        fine = "1.0000000000000000005::decimal(38, 19)"
        books = mapped(tmp_path, select(QUERY | {"pnl": fine, "gross": "'1.0000000000000000015'"}))
        assert books.trades["pnl"].to_pylist() == [Decimal(1)]
        assert books.trades["gross"].to_pylist() == [Decimal("1.000000000000000002")]
        with pytest.raises(BooksError, match=r"qty holds '1.0000000000000000005'"):
            mapped(tmp_path, select(QUERY | {"qty": fine}))
        with pytest.raises(BooksError, match=r"positions\.sql: qty holds '1.0000000000000000005'"):
            mapped(tmp_path, select(QUERY), positions=select(POSITION | {"qty": fine}))

    @pytest.mark.parametrize(
        "value", ["'abc'", "'1_000'", "'nan'", "'Infinity'", f"{10**21}::hugeint"]
    )
    def test_an_unreadable_number_is_refused(self, tmp_path: Path, value: str) -> None:
        for column in ("qty", "pnl"):
            with pytest.raises(BooksError, match=r"trades\.sql: "):
                mapped(tmp_path, select(QUERY | {column: value}))

    def test_blank_is_unknown(self, tmp_path: Path) -> None:
        books = mapped(tmp_path, select(QUERY | {"fee": "''", "qty": "''"}))
        assert (books.trades["fee"][0].as_py(), books.trades["qty"][0].as_py()) == (None, None)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("'2026-05-14 12:00:00.123456'", "2026-05-14T12:00:00.123456"),
            ("'2026-05-14T12:00:00Z'", "2026-05-14T12:00:00"),
            ("'2026-05-14T12:00:00+02:00'", "2026-05-14T10:00:00"),
            ("timestamptz '2026-05-14 12:00:00-04'", "2026-05-14T16:00:00"),
            ("timestamp_ms '2026-05-14 12:00:00.123'", "2026-05-14T12:00:00.123000"),
            ("epoch_ms(1778760000000)", "2026-05-14T12:00:00"),
            ("to_timestamp(1778760000)", "2026-05-14T12:00:00"),
        ],
    )
    def test_times_are_utc(self, tmp_path: Path, value: str, expected: str) -> None:
        books = mapped(tmp_path, select(QUERY | {"closed_at": value}))
        assert books.trades["closed_at"][0].as_py() == datetime.fromisoformat(expected)

    @pytest.mark.parametrize("value", ["1778760000000", "date '2026-05-14'", "1778760000.5"])
    def test_a_number_is_no_time(self, tmp_path: Path, value: str) -> None:
        with pytest.raises(BooksError, match=r"closed_at is .*epoch_ms"):
            mapped(tmp_path, select(QUERY | {"closed_at": value}))

    @pytest.mark.parametrize(
        "value", ["'yesterday'", "'2026-13-01 00:00:00'", "'14/05/2026'", "'infinity'::timestamp"]
    )
    def test_an_unreadable_time_is_refused(self, tmp_path: Path, value: str) -> None:
        with pytest.raises(BooksError, match=r"closed_at holds"):
            mapped(tmp_path, select(QUERY | {"closed_at": value}))

    def test_order_ids(self, tmp_path: Path) -> None:
        books = mapped(tmp_path, select(QUERY | {"order_ids": "[12, null]"}))
        assert books.trades["order_ids"].to_pylist() == [["12", None]]
        with pytest.raises(BooksError, match=r"order_ids is varchar: give a list"):
            mapped(tmp_path, select(QUERY | {"order_ids": "'12'"}))

    def test_rows_that_cannot_stand_are_problems_not_errors(self, tmp_path: Path) -> None:
        query = select(QUERY | {"trade_id": "a", "side": "s", "pnl": "p", "closed_at": "c"})
        source = (
            " from (values ('1', 'long', 1, '2026-05-14 00:00:00'), (null, 'short', 1,"
            " '2026-05-14 00:00:00'), ('1', 'long', 1, '2026-05-14 00:00:00'), ('4', 'LONG', 1,"
            " '2026-05-14 00:00:00'), ('5', null, null, null)) as v(a, s, p, c)"
        )
        books = mapped(tmp_path, query + source)
        assert books.trades.num_rows == 5
        assert set(books.problems) == {
            Problem("trades", None, "trade_id is null"),
            Problem("trades", "1", "trade_id is that of another row"),
            Problem("trades", "4", "side is neither long nor short"),
            Problem("trades", "5", "side is neither long nor short"),
            Problem("trades", "5", "pnl is null"),
            Problem("trades", "5", "closed_at is null"),
        }


class TestSnapshots:
    def test_hostile_names_do_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "bot.sqlite"
        with closing(sqlite3.connect(path)) as bot:
            bot.execute(
                'create table "weird ""name; drop" ("a""; drop schema bot; --" int, "" int)'
            )
            bot.execute('insert into "weird ""name; drop" values (1, 2)')
            bot.execute('create table "x\'y" ("select" text)')
            bot.execute("insert into \"x'y\" values ('''; drop schema bot; --')")
            bot.commit()
        (tmp_path / "trades.sql").write_text(
            select(QUERY | {"pnl": '"a""; drop schema bot; --"', "instrument": '"select"'})
            + 'from bot."weird ""name; drop", bot."x\'y"',
            encoding="utf-8",
        )
        books = read_books(find_mapping(".", tmp_path), *unpack(snapshot(path)))
        assert books.trades["pnl"].to_pylist() == [Decimal(1)]
        assert books.trades["instrument"].to_pylist() == ["'; drop schema bot; --"]

    @pytest.mark.parametrize("hostile", ["BIGINT); drop schema bot; --", "DOUBLE", "DECIMAL(39,1)"])
    def test_a_column_type_is_one_of_ours(self, tmp_path: Path, hostile: str) -> None:
        with pytest.raises(BooksError, match="no known type"):
            mapped(tmp_path, select(QUERY), types=[("a", hostile)])

    def test_more_digits_than_the_column_holds_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BooksError, match="more digits than its columns"):
            mapped(tmp_path, select(QUERY), types=[("a", "DECIMAL(38,2)")], rows={"a": ["1.005"]})

    def test_rows_without_their_columns_are_refused(self) -> None:
        with pytest.raises(BooksError, match="lacks the columns of t"):
            unpack([Record("table:t", "1", '{"a":"1"}')])

    def test_blobs_and_booleans(self, tmp_path: Path) -> None:
        books = mapped(
            tmp_path,
            select(QUERY | {"trade_id": "hex(a)"}, "from bot.t where b"),
            types=[("a", "BLOB"), ("b", "BOOLEAN")],
            rows={"a": ["00ff", "01"], "b": ["1", "0"]},
        )
        assert books.trades["trade_id"].to_pylist() == ["00FF"]


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1),
        min_size=1,
        max_size=20,
    )
)
def test_any_number_arrives_as_it_was_written(tmp_path: Path, values: list[float | int]) -> None:
    path = tmp_path / "bot.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as bot:
        bot.execute("create table t (n integer primary key, a)")
        bot.executemany("insert into t (a) values (?)", [(value,) for value in values])
        bot.commit()
    (tmp_path / "trades.sql").write_text(
        select(QUERY | {"trade_id": "n", "instrument": "a"}, "from bot.t"), encoding="utf-8"
    )
    books = read_books(find_mapping(".", tmp_path), *unpack(snapshot(path)))
    arrived = {int(row["trade_id"]): row["instrument"] for row in books.trades.to_pylist()}
    assert [Decimal(arrived[n]) for n in range(1, len(values) + 1)] == [
        Decimal(repr(value)) for value in values
    ]


@given(st.lists(st.decimals(-1000, 1000, places=12), min_size=1, max_size=5))
def test_a_product_is_rounded_once(factors: list[Decimal]) -> None:
    with localcontext(prec=200):
        whole = Decimal(1)
        for factor in factors:
            whole *= factor
        assert exact_product(*map(str, factors)) == whole.quantize(Decimal("1e-18"))


def test_a_product_of_what_is_unknown_or_not_exact() -> None:
    assert exact_product("1", None) is None
    assert exact_product("1", " ") is None
    with pytest.raises(TypeError, match="cast to decimal"):
        exact_product(1.5)
    with pytest.raises(ValueError, match="more than twenty digits"):
        exact_product(10**10, 10**10)


def test_a_query_without_end_is_stopped(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "vault.sqlite")) as bot:
        bot.execute("create table trades (id integer primary key)")
        bot.executemany("insert into trades values (?)", [(n,) for n in range(2_000)])
        bot.commit()
    (tmp_path / "trades.sql").write_text(
        "select count(*)::varchar as trade_id, 'X' as instrument, 'long' as side, null as qty, "
        "null as opened_at, '2026-05-14' as closed_at, null as entry_price, null as exit_price, "
        "null as gross, null as fee, null as funding, 1 as pnl, null::varchar[] as order_ids "
        "from bot.trades a, bot.trades b, bot.trades c, bot.trades d "
        "where a.id + b.id + c.id + d.id = 7"
    )
    with pytest.raises(BooksError, match=r"trades\.sql: it took too long and was stopped"):
        read_books(
            find_mapping(".", tmp_path), *unpack(snapshot(tmp_path / "vault.sqlite")), limit_s=0.5
        )
