"""freqtrade's mapping, in each era's shape: its trades, and which of them may have changed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from connectors.sqlite_books import SqliteBooks
from recon.books import BooksTables, Problem, read_books, unpack, unpack_stored
from recon.domain import Coverage, Record, Session, Table, Window
from recon.errors import BooksError
from recon.mappings import find_mapping
from recon.resources import sql_root
from recon.watermarks import Above
from tests.freqtrade import (
    ERAS,
    LONG_SWAP,
    ORDERS_2021,
    ORDERS_2022,
    ORDERS_TODAY,
    TRADES_2019,
    TRADES_2021,
    TRADES_2022,
    TRADES_TODAY,
    Row,
    order,
    without,
    write,
)  # fmt: skip

NOW = datetime(2026, 5, 15, tzinfo=UTC)
DAY = Session(date(2026, 5, 14), datetime(2026, 5, 14, tzinfo=UTC), NOW)


def snapshot(path: Path) -> list[Record | Table | Coverage]:
    async def drain() -> list[Record | Table | Coverage]:
        books = SqliteBooks("btcq", path, now=lambda: NOW)
        return [one async for one in books.fetch(Window(DAY, DAY))]

    return asyncio.run(drain())


def freqtrade(
    folder: Path,
    trades: str,
    rows: Iterable[Row],
    orders: str | None = None,
    order_rows: Iterable[Row] = (),
) -> BooksTables:
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


NIGHTS = (datetime(2026, 5, 14, 2, tzinfo=UTC), datetime(2026, 5, 15, 2, tzinfo=UTC))
BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
OVERLAP = timedelta(days=7)


class Freqtrade:
    """A freqtrade that trades at random, and changes what freqtrade changes, when it does so."""

    def __init__(self, path: Path, era: str, seed: int) -> None:
        self.path = path
        self.trades_declared, self.orders_declared = ERAS[era]
        self.random = random.Random(seed)  # the same each time
        self.trades: dict[int, Row] = {}
        self.orders: dict[int, Row] = {}

    def live(self, start: datetime, until: datetime, events: int) -> None:
        """Let things happen between two instants, and write the database."""
        for _ in range(events):
            at = start + (until - start) * self.random.random()
            opened = [trade for trade in self.trades.values() if trade["is_open"]]
            closed = [trade for trade in self.trades.values() if not trade["is_open"]]
            event = self.random.choice([self.enter, self.enter, self.exit, self.exit, self.again])
            if event == self.enter or not opened:
                self.enter(at)
            elif event == self.again and closed and self.orders_declared:
                self.again(at, self.random.choice(closed))
            else:
                self.exit(at, self.random.choice(opened))
        write(
            self.path,
            self.trades_declared,
            [_known(trade, self.trades_declared) for trade in self.trades.values()],
            self.orders_declared,
            [_known(one, self.orders_declared or "") for one in self.orders.values()],
        )

    def enter(self, at: datetime) -> None:
        trade = LONG_SWAP | {
            "id": len(self.trades) + 1,
            "is_open": 1,
            "is_short": self.random.randint(0, 1),
            "open_rate": self.random.uniform(1, 70_000),
            "close_rate": None,
            "amount": self.random.uniform(0.001, 3),
            "open_date": _text(at),
            "close_date": None,
            "close_profit_abs": None,
            "realized_profit": 0.0,
            "funding_fees": 0.0,
        }
        self.trades[trade["id"]] = trade
        self.place(at, trade, trade["amount"], trade["open_rate"], is_exit=False)

    def exit(self, at: datetime, trade: Row) -> None:
        """Close a trade, or a part of it, which has no date of its own."""
        rate = trade["open_rate"] * self.random.uniform(0.9, 1.1)
        profit = trade["amount"] * self.random.uniform(-100, 100)
        trade["funding_fees"] = self.random.uniform(-1, 1)
        trade["realized_profit"] += profit
        trade["close_profit_abs"] = profit
        if "realized_profit" in self.trades_declared and self.random.random() < 0.4:
            trade["amount"] /= 2
            self.place(at, trade, trade["amount"], rate, is_exit=True)
            return
        self.place(at, trade, trade["amount"], rate, is_exit=True)
        trade |= {"is_open": 0, "close_rate": rate, "close_date": _text(at)}

    def again(self, at: datetime, trade: Row) -> None:
        """Find out the fee of a trade that was closed long ago; its date stays what it was."""
        trade["fee_close"] = self.random.choice([0.0002, 0.0004, 0.001])
        trade["close_profit_abs"] *= 0.999
        trade["realized_profit"] *= 0.999
        mine = [one for one in self.orders.values() if one["ft_trade_id"] == trade["id"]]
        mine[-1] |= {
            "ft_fee_base": self.random.choice([None, 1e-7]),
            "order_update_date": _text(at),
        }

    def place(self, at: datetime, trade: Row, qty: float, rate: float, *, is_exit: bool) -> None:
        number = len(self.orders) + 1
        side = "sell" if is_exit != bool(trade["is_short"]) else "buy"
        self.orders[number] = order(
            f"o{number}",
            side,
            qty,
            rate,
            id=number,
            ft_trade_id=trade["id"],
            average=rate,
            order_filled_date=_text(at),
            order_update_date=_text(at),
        )


def _known(row: Row, declared: str) -> Row:
    names = [one.split()[0] for one in declared.split(",") if one]
    return {name: row[name] for name in names if name in row}


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"


def places(names: Sequence[str]) -> list[str]:
    return [f"c{number}" for number, _ in enumerate(names)]


class Stored:
    """Records as a warehouse has them: a kind, an id and a payload, the latest of each."""

    def __init__(self) -> None:
        self.rows = duckdb.connect(":memory:")
        self.rows.execute("create table records (kind text, id text, payload text)")

    def land(self, items: Iterable[Record | Table | Coverage]) -> None:
        for item in items:
            if isinstance(item, Record):
                self.upsert(item.kind, pa.table({"id": [item.id], "payload": [item.payload]}))
            elif isinstance(item, Table):
                self.upsert(item.kind, self.with_payloads(item.batches))

    def with_payloads(self, batches: pa.Table) -> pa.Table:
        """Return each row's id and its payload, as one object of text."""
        names = batches.column_names[1:]
        self.rows.register("batches", batches.rename_columns(["id", *places(names)]))
        literals = [f"'{name}'" for name in names]
        pairs = ", ".join(
            f"{one}, {place}" for one, place in zip(literals, places(names), strict=True)
        )
        query = f"select id, json_object({pairs})::varchar as payload from batches"
        return self.rows.sql(query).to_arrow_table()

    def upsert(self, kind: str, came: pa.Table) -> None:
        self.rows.register("came", came)
        self.rows.execute(
            "delete from records using came where kind = ? and records.id = came.id", [kind]
        )
        self.rows.execute("insert into records select ?, id, payload from came", [kind])

    def read(self, kind: str, what: str) -> pa.Table:
        query = f"select {what} from records where kind = ?"
        return self.rows.sql(query, params=[kind]).to_arrow_table()

    def books(self) -> BooksTables:
        schemas = self.rows.execute("select id, payload from records where kind = 'schema'")
        stored = unpack_stored(schemas.fetchall(), self.read)
        return read_books(find_mapping("freqtrade", Path()), *stored)


def read_night(path: Path, start: datetime, now: datetime) -> list[Record | Table | Coverage]:
    mapping = find_mapping("freqtrade", Path())
    above = Above(BEGINNING, mapping.watermarks)
    source = SqliteBooks("b", path, now=lambda: now, is_wanted=mapping.reads, above=above)
    window = Window(Session(start.date(), start, start + timedelta(days=1)), DAY)

    async def drain() -> list[Record | Table | Coverage]:
        return [one async for one in source.fetch(window)]

    return asyncio.run(drain())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("era", ERAS)
def test_the_whole_is_the_old_and_what_lies_above_the_watermark(
    tmp_path: Path, era: str, seed: int
) -> None:
    bot, stored = Freqtrade(tmp_path / "bot.sqlite", era, seed), Stored()
    with closing(stored.rows):
        before, tonight = NIGHTS
        bot.live(BEGINNING, before, 60)
        stored.land(read_night(bot.path, BEGINNING, before))
        bot.live(before, tonight, 12)
        start = (before - OVERLAP).replace(hour=0)
        items = read_night(bot.path, start, tonight)
        stored.land(items)
        claims = stored.books()
        whole = read_books(find_mapping("freqtrade", Path()), *unpack(snapshot(bot.path)))
        assert claims == whole
        assert len(whole.trades) > 10
        few = sum(len(one.batches) for one in items if isinstance(one, Table))
        assert few < len(bot.trades) + (len(bot.orders) if bot.orders_declared else 0)
        statements = [one for one in items if isinstance(one, Coverage)]
        assert [one.is_snapshot for one in statements] == [True, False]
        kinds = {"table:trades", "table:orders"} if bot.orders_declared else {"table:trades"}
        assert set(statements[1].kinds) == kinds
