"""go-trader's mapping: closing trades, net or gross, and fees that it never learned."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from recon.bot_databases.run_mapping import MappingAnswers
from tests.support.bots import GO_TRADER, Row, by_id, database, mapped, sqlite_snapshot

STRATEGIES: list[Row] = [
    {"id": "hl", "type": "perps", "platform": "hyperliquid"},
    {"id": "okx", "type": "perps", "platform": "okx"},
    {"id": "spot", "type": "spot", "platform": "okx"},
    {"id": "other", "type": "spot", "platform": "binanceus"},
]


def trade(number: int, side: str, **more: object) -> Row:
    return {
        "rowid": number,
        "strategy_id": "hl",
        "timestamp": "2026-05-14T12:00:00.123456789Z",
        "symbol": "ETH",
        "position_id": "p1",
        "side": side,
        "quantity": 0.3,
        "price": 2000.5,
        "value": 600.15,
        "exchange_order_id": f"x{number}",
        "exchange_fee": 0.25,
        "fee_source": "userFills",
        **more,
    }


def close(number: int, side: str = "sell", pnl: float = 30.0, **more: object) -> Row:
    return trade(number, side, is_close=1, realized_pnl=pnl, **more)


def go_trader(folder: Path, *trades: Row, positions: list[Row] | None = None) -> MappingAnswers:
    path = database(
        folder / "state.db",
        GO_TRADER,
        strategies=STRATEGIES,
        trades=trades,
        positions=positions or [],
    )
    return mapped("go-trader", sqlite_snapshot(path))


def test_a_close_is_net_or_says_that_it_is_gross(tmp_path: Path) -> None:
    books = go_trader(
        tmp_path, trade(1, "buy"), close(2, pnl=10.0, quantity=0.1), close(3, pnl_gross=1)
    )
    net, gross = by_id(books).values()
    assert (net["pnl"], net["fee"], net["gross"]) == (10, Decimal("-0.25"), Decimal("10.25"))
    assert (gross["pnl"], gross["gross"]) == (Decimal("29.75"), 30)
    assert (net["side"], net["qty"], net["instrument"]) == ("long", Decimal("0.1"), "ETH/USDC:USDC")
    assert net["opened_at"] == net["closed_at"] == datetime(2026, 5, 14, 12, 0, 0, 123456)
    assert (net["entry_price"], net["funding"]) == (Decimal("2000.5"), None)
    # Each order stands in one row: the opening one with the first close.
    assert (net["order_ids"], gross["order_ids"]) == (["x1", "x2"], ["x3"])
    assert books.fills is not None
    assert books.fills["order_id"].to_pylist() == ["x1", "x2", "x3"]
    assert set(books.fills["fee"].to_pylist()) == {Decimal("-0.25")}


def test_a_fee_that_is_not_stored_is_unknown(tmp_path: Path) -> None:
    books = go_trader(
        tmp_path,
        close(1, exchange_fee=0, fee_source="", position_id="", exchange_order_id=""),
        close(2, exchange_fee=0, position_id=""),
        close(3, "buy", exchange_fee=0, fee_source="", pnl_gross=1, position_id=""),
    )
    unknown, none, gross = by_id(books).values()
    assert (unknown["fee"], unknown["gross"], unknown["pnl"]) == (None, None, 30)
    assert (unknown["order_ids"], unknown["opened_at"]) == (None, None)
    assert (none["fee"], none["gross"]) == (0, 30)
    assert (gross["fee"], gross["gross"], gross["pnl"], gross["side"]) == (None, 30, 30, "short")
    assert books.fills is not None
    assert books.fills["fee"].to_pylist() == [None, 0, None]


@pytest.mark.parametrize(
    ("strategy", "symbol", "instrument"),
    [
        ("hl", "BTC", "BTC/USDC:USDC"),
        ("okx", "BTC", "BTC-USDT-SWAP"),
        ("spot", "BTC/USDT", "BTC-USDT"),
        ("other", "BTC/USDT", "BTC/USDT"),
    ],
)
def test_instruments_are_the_venues(
    strategy: str, symbol: str, instrument: str, tmp_path: Path
) -> None:
    books = go_trader(
        tmp_path,
        close(1, strategy_id=strategy, symbol=symbol),
        positions=[
            {"strategy_id": strategy, "symbol": symbol, "side": "short"}
            | {"quantity": 0.1, "avg_cost": 2}
        ],
    )
    assert [one["instrument"] for one in by_id(books).values()] == [instrument]
    assert books.fills is not None
    assert books.fills["instrument"].to_pylist() == [instrument]
    assert books.positions is not None
    assert books.positions.to_pylist() == [
        {"instrument": instrument, "qty": Decimal("-0.1"), "avg_price": Decimal(2)}
    ]
