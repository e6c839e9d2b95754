"""Real freqtrade databases: every closed trade, to the last digit.

RECON_SHARED_DATA names the folder that holds them; without it these tests are skipped.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from connectors.bot_databases.sqlite import SqliteDatabase
from recon.bot_databases.mappings import find_mapping
from recon.bot_databases.run_mapping import MappingAnswers, read_books, unpack
from recon.core.records import Coverage, Record, Session, Table, Window

if not os.environ.get("RECON_SHARED_DATA"):
    pytest.skip("RECON_SHARED_DATA is not set", allow_module_level=True)

FOLDER = Path(os.environ["RECON_SHARED_DATA"]) / "freqtrade"
VARIANTS = {"2019-no-orders-table": "no_orders", "2021-dryrun": "spot", "2021-live": "spot"}
NOW = datetime(2026, 5, 15, tzinfo=UTC)
DAY = Session(date(2026, 5, 14), datetime(2026, 5, 14, tzinfo=UTC), NOW)


def mapped(name: str) -> MappingAnswers:
    async def drain() -> list[Record | Table | Coverage]:
        books = SqliteDatabase("bot", FOLDER / f"{name}.sqlite", now=lambda: NOW)
        return [one async for one in books.fetch(Window(DAY, DAY))]

    return read_books(find_mapping("auto", FOLDER), *unpack(asyncio.run(drain())))


def asked(name: str, query: str) -> list[dict[str, Any]]:
    uri = f"file:{quote(str(FOLDER / name))}.sqlite?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as books:
        books.row_factory = sqlite3.Row
        return [dict(row) for row in books.execute(query)]


def exact(row: dict[str, Any], *names: str) -> Decimal:
    """Multiply columns as the shortest decimals that they are; round once, half to even."""
    with localcontext(prec=200):
        product = Decimal(1)
        for name in names:
            product *= Decimal(repr(row[name]))
        return product.quantize(Decimal("1e-18"))


def test_the_files_are_there() -> None:
    assert {path.stem for path in FOLDER.glob("*.sqlite")} >= VARIANTS.keys()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_variant_and_the_count(name: str) -> None:
    books = mapped(name)
    (closed,) = asked(name, "select count(*) as n from trades where is_open = 0")
    assert books.variant.name == VARIANTS[name]
    assert books.trades.num_rows == closed["n"]
    assert books.problems == ()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_sum_is_what_plain_sql_gives(name: str) -> None:
    shown = (
        "amount * close_rate * (1 - fee_close) - amount * open_rate * (1 + fee_open)"
        if name.startswith("2019")
        else "close_profit_abs"
    )
    (plain,) = asked(name, f"select sum({shown}) as total from trades where is_open = 0")
    claimed = sum(mapped(name).trades["pnl"].to_pylist(), Decimal(0))
    assert abs(claimed - Decimal(repr(plain["total"]))) < Decimal("1e-9")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_trade_to_the_last_digit(name: str) -> None:
    rows = {str(row["id"]): row for row in asked(name, "select * from trades where is_open = 0")}
    for trade in mapped(name).trades.to_pylist():
        row = rows[trade["trade_id"]]
        fee = -(
            exact(row, "amount", "open_rate", "fee_open")
            + exact(row, "amount", "close_rate", "fee_close")
        )
        if name.startswith("2019"):
            gross = exact(row, "amount", "close_rate") - exact(row, "amount", "open_rate")
            assert trade["pnl"] == gross + fee
        else:
            assert trade["pnl"] == Decimal(repr(row["close_profit_abs"]))
        assert trade["fee"] == fee
        assert trade["gross"] + trade["fee"] == trade["pnl"]
        assert trade["qty"] == exact(row, "amount")
        assert trade["entry_price"] == exact(row, "open_rate")
        assert trade["exit_price"] == exact(row, "close_rate")
        assert trade["closed_at"] == datetime.fromisoformat(row["close_date"])


@pytest.mark.parametrize("name", ["2021-dryrun", "2021-live"])
def test_every_filled_order_is_a_fill_and_is_named_by_its_trade(name: str) -> None:
    books = mapped(name)
    orders = asked(name, "select * from orders where filled > 0 order by id")
    assert books.fills is not None
    assert sorted(books.fills["order_id"].to_pylist()) == sorted(row["order_id"] for row in orders)
    for trade in books.trades.to_pylist():
        of_trade = [
            row["order_id"] for row in orders if str(row["ft_trade_id"]) == trade["trade_id"]
        ]
        assert trade["order_ids"] == of_trade


def test_open_trades_are_positions() -> None:
    positions = mapped("2019-no-orders-table").positions
    assert positions is not None
    held = {row["instrument"]: row["qty"] for row in positions.to_pylist()}
    rows = asked("2019-no-orders-table", "select * from trades where is_open = 1")
    assert held == {row["pair"]: exact(row, "amount") for row in rows}
