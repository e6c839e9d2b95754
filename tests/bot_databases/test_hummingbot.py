"""hummingbot's mapping: millionths and floats, fills and executors, and fees that went missing."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.bot_databases.run_mapping import MappingAnswers
from tests.support.bots import (
    HUMMINGBOT,
    HUMMINGBOT_2020,
    NOON_MS,
    Row,
    by_id,
    database,
    mapped,
    sqlite_snapshot,
)

NO_FEE: Row = {"fee_type": "AddedToCost", "percent": "0", "percent_token": None, "flat_fees": []}
NOON = datetime(2026, 5, 14, 12)


def order(name: str) -> Row:
    return {
        "id": name,
        "config_file_path": "c.yml",
        "strategy": "pmm",
        "market": "okx_perpetual",
        "symbol": "BTC-USDT",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "creation_timestamp": 1,
        "order_type": "LIMIT",
        "amount": 1,
        "price": 1,
        "last_status": "x",
        "last_update_timestamp": 1,
    }


def fill(number: int, side: str, amount: str, price: str, fee: str = "0", **more: object) -> Row:
    """Return a fill of today's shape: millionths."""
    millionths = {
        name: int(Decimal(text) * 10**6)
        for name, text in (("amount", amount), ("price", price), ("trade_fee_in_quote", fee))
    }
    return {
        "config_file_path": "c.yml",
        "strategy": "pmm",
        "market": "okx_perpetual",
        "symbol": "BTC-USDT",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "timestamp": NOON_MS + number,
        "order_id": f"o{number}",
        "trade_type": side,
        "order_type": "LIMIT",
        "leverage": 1,
        "trade_fee": NO_FEE,
        "exchange_trade_id": f"t{number}",
        "position": "NIL",
        **millionths,
        **more,
    }


def executor(name: str, pnl: float, fees: float, **more: object) -> Row:
    return {
        "id": name,
        "timestamp": NOON_MS / 1000 - 60,
        "type": "position_executor",
        "close_timestamp": NOON_MS // 1000,
        "status": 4,
        "config": {"connector_name": "okx_perpetual", "trading_pair": "ETH-USDT", "side": 2},
        "net_pnl_pct": 0.1,
        "net_pnl_quote": pnl,
        "cum_fees_quote": fees,
        "filled_amount_quote": 100.0,
        "is_active": False,
        "is_trading": False,
        "custom_info": {},
        "controller_id": "main",
        **more,
    }


def held(name: str, at: int, realised: str) -> Row:
    return {
        "id": name,
        "controller_id": "main",
        "strategy": "v2",
        "market": "okx_perpetual",
        "trading_pair": "ETH-USDT",
        "side": "BUY",
        "timestamp": at,
        "volume_traded_quote": 1,
        "amount": 1,
        "breakeven_price": 1,
        "unrealized_pnl_quote": 1,
        "cum_fees_quote": 1,
        "realized_pnl_quote": int(Decimal(realised) * 10**6),
        "filled_orders": {},
    }


def hummingbot(folder: Path, *fills: Row, **more: list[Row]) -> MappingAnswers:
    path = folder / "hummingbot.sqlite"
    path.unlink(missing_ok=True)
    orders = [order(one["order_id"]) | {"leverage": 1} for one in fills]
    orders = [one | {"exchange_order_id": f"venue-{one['id']}"} for one in orders]
    database(path, HUMMINGBOT, Order=orders, TradeFill=fills, **more)
    return mapped("hummingbot", sqlite_snapshot(path))


def test_each_fill_shows_what_it_closed_less_its_own_fee(tmp_path: Path) -> None:
    books = hummingbot(
        tmp_path,
        fill(1, "BUY", "0.03", "60000.5", "0.9"),
        fill(2, "SELL", "0.01", "61000.5", "0.3"),
        fill(3, "SELL", "0.03", "61000.5", "0.9"),
    )
    trades = by_id(books)
    assert [trade["pnl"] for trade in trades.values()] == [
        Decimal("-0.9"),
        Decimal("9.7"),
        Decimal("19.1"),
    ]
    opening, closing, turning = trades.values()
    assert (opening["side"], opening["qty"], opening["gross"]) == ("long", 0, 0)
    assert (closing["side"], closing["qty"], closing["gross"]) == ("long", Decimal("0.01"), 10)
    assert (turning["side"], turning["qty"], turning["gross"]) == ("long", Decimal("0.02"), 20)
    assert turning["instrument"] == "BTC-USDT-SWAP"
    assert turning["closed_at"] == NOON + timedelta(milliseconds=3)
    assert turning["order_ids"] == ["venue-o3"]
    assert {trade["funding"] for trade in trades.values()} == {None}
    assert books.positions is not None
    assert books.positions.to_pylist() == [
        {"instrument": "BTC-USDT-SWAP", "qty": Decimal("-0.01"), "avg_price": None}
    ]
    assert books.fills is not None
    assert books.fills.to_pylist()[1] == {
        "fill_id": "t2",
        "order_id": "venue-o2",
        "instrument": "BTC-USDT-SWAP",
        "side": "sell",
        "qty": Decimal("0.01"),
        "price": Decimal("61000.5"),
        "fee": Decimal("-0.3"),
        "fee_currency": "USDT",
        "at": NOON + timedelta(milliseconds=2),
    }


def test_a_long_and_a_short_at_once_are_two_positions(tmp_path: Path) -> None:
    trades = by_id(
        hummingbot(
            tmp_path,
            fill(1, "BUY", "1", "100", position="OPEN"),
            fill(2, "SELL", "1", "110", position="OPEN"),
            fill(3, "BUY", "1", "105", position="CLOSE"),
            fill(4, "SELL", "1", "103", position="CLOSE"),
        )
    )
    assert [(one["side"], one["qty"], one["pnl"]) for one in trades.values()] == [
        ("long", 0, 0),
        ("short", 0, 0),
        ("short", 1, 5),
        ("long", 1, 3),
    ]


@pytest.mark.parametrize(
    "trade_fee",
    [
        NO_FEE | {"percent": "0.001"},
        NO_FEE | {"flat_fees": [{"token": "BNB", "amount": "0.002"}]},
    ],
)
def test_a_fee_that_was_not_converted_is_unknown(trade_fee: Row, tmp_path: Path) -> None:
    books = hummingbot(tmp_path, fill(1, "BUY", "1", "100", "0", trade_fee=trade_fee))
    (trade,) = by_id(books).values()
    assert (trade["fee"], trade["pnl"]) == (None, 0)
    free = by_id(hummingbot(tmp_path, fill(1, "BUY", "1", "100", "0")))
    assert [one["fee"] for one in free.values()] == [0]
    assert books.fills is not None
    assert books.fills["fee"].to_pylist() == [None]


def test_fills_on_paper_are_no_fills(tmp_path: Path) -> None:
    books = hummingbot(tmp_path, fill(1, "BUY", "1", "100", market="binance_paper_trade"))
    assert books.fills is not None
    assert books.positions is not None
    assert [one.num_rows for one in (books.trades, books.fills, books.positions)] == [0, 0, 0]


def test_executors_stand_for_their_fills(tmp_path: Path) -> None:
    books = hummingbot(
        tmp_path,
        fill(1, "SELL", "1", "100", "0.1"),
        Executors=[
            executor("e1", 4.5, 0.25),
            executor("e2", 0.0, 0.0, filled_amount_quote=0.0),
            executor("e3", 1.0, 0.0, close_timestamp=None),
            executor(
                "e4",
                -1.0,
                0.5,
                close_timestamp=NOON_MS,
                config={"buying_market": {"connector_name": "kucoin", "trading_pair": "A-USDT"}},
            ),
        ],
        Position=[held("p1", NOON_MS - 5, "7"), held("p2", NOON_MS, "8.5")],
    )
    trades = by_id(books)
    assert {name: trade["pnl"] for name, trade in trades.items()} == {
        "e1": Decimal("4.5"),
        "e4": Decimal(-1),
        "position/main/okx_perpetual/ETH-USDT/BUY": Decimal("8.5"),
    }
    one = trades["e1"]
    assert (one["side"], one["instrument"]) == ("short", "ETH-USDT-SWAP")
    assert (one["gross"], one["fee"]) == (Decimal("4.75"), Decimal("-0.25"))
    assert (one["opened_at"], one["closed_at"]) == (NOON - timedelta(minutes=1), NOON)
    assert (trades["e4"]["instrument"], trades["e4"]["closed_at"]) == ("A/USDT", NOON)
    assert books.fills is not None
    assert books.fills.num_rows == 1


def test_older_databases_have_floats_and_no_fee_in_quote(tmp_path: Path) -> None:
    def older(number: int, side: str, trade_fee: Row) -> Row:
        row = fill(number, side, "0", "0", trade_fee=trade_fee, market="binance")
        lacking = {"leverage", "trade_fee_in_quote", "position"}
        kept = {name: value for name, value in row.items() if name not in lacking}
        return kept | {"amount": 0.3, "price": 1e-7}

    flat = [{"token": "USDT", "amount": 0.000000001}, {"token": "BNB", "amount": 1}]
    path = database(
        tmp_path / "old.sqlite",
        HUMMINGBOT_2020,
        TradeFill=[
            older(1, "BUY", NO_FEE | {"percent": 0.001}),
            older(2, "SELL", NO_FEE | {"flat_fees": flat[:1]}),
            older(3, "SELL", NO_FEE | {"flat_fees": flat}),
        ],
    )
    opening, closing, other = by_id(mapped("hummingbot", sqlite_snapshot(path))).values()
    assert (opening["fee"], opening["pnl"]) == (Decimal("-3e-11"), Decimal("-3e-11"))
    assert (closing["qty"], closing["fee"]) == (Decimal("0.3"), Decimal("-1e-9"))
    assert (closing["instrument"], closing["order_ids"]) == ("BTC/USDT", None)
    assert (other["fee"], other["pnl"]) == (None, Decimal("-1e-9"))


@pytest.mark.parametrize(
    ("market", "symbol", "instrument"),
    [
        ("okx", "BTC-USDT", "BTC-USDT"),
        ("okx_perpetual", "BTC-USDT", "BTC-USDT-SWAP"),
        ("binance", "BTC-USDT", "BTC/USDT"),
        ("bybit_perpetual", "BTC-USDT", "BTC/USDT:USDT"),
        ("hyperliquid_perpetual", "BTC-USD", "BTC/USDC:USDC"),
    ],
)
def test_instruments_are_the_venues(
    market: str, symbol: str, instrument: str, tmp_path: Path
) -> None:
    books = hummingbot(tmp_path, fill(1, "BUY", "1", "2", market=market, symbol=symbol))
    assert [one["instrument"] for one in by_id(books).values()] == [instrument]
    assert books.fills is not None
    assert books.fills["instrument"].to_pylist() == [instrument]
    assert books.positions is not None
    assert books.positions["instrument"].to_pylist() == [instrument]


AMOUNT = st.decimals("0.000001", "10", places=6)
FILLS = st.lists(st.tuples(st.sampled_from(["BUY", "SELL"]), AMOUNT, AMOUNT, AMOUNT), max_size=12)


@settings(max_examples=20)
@given(fills=FILLS)
def test_once_flat_all_of_it_is_what_was_paid_and_received(
    fills: list[tuple[str, Decimal, Decimal, Decimal]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [fill(n, side, str(a), str(p), str(f)) for n, (side, a, p, f) in enumerate(fills)]
    left = sum((a if side == "BUY" else -a for side, a, _, _ in fills), Decimal(0))
    if left:
        rows.append(fill(len(rows), "SELL" if left > 0 else "BUY", str(abs(left)), "1"))
    cash = sum(
        (p * a * (-1 if side == "BUY" else 1) - f for side, a, p, f in fills), left * Decimal(1)
    )
    trades = by_id(hummingbot(tmp_path_factory.mktemp("bot"), *rows))
    assert sum((one["pnl"] for one in trades.values()), Decimal(0)) == cash
