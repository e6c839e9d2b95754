"""freqtrade's databases of each era, as files with rows of one's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

Row = dict[str, Any]

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
    " amount float, filled float, order_filled_date datetime, order_update_date datetime"
)
TRADES_2022 = (
    f"{TRADES_2021}, is_short boolean, trading_mode varchar, funding_fees float, leverage float"
)
ORDERS_2022 = f"{ORDERS_2021}, average float"
TRADES_TODAY = f"{TRADES_2022}, realized_profit float, contract_size float"
ORDERS_TODAY = f"{ORDERS_2022}, ft_fee_base float, funding_fee float"

LONG_SWAP: Row = {
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

ERAS: dict[str, tuple[str, str | None]] = {
    "no_orders": (TRADES_2019, None),
    "spot": (TRADES_2021, ORDERS_2021),
    "leveraged": (TRADES_2022, ORDERS_2022),
    "today": (TRADES_TODAY, ORDERS_TODAY),
}
"""The columns of trades and of orders that each variant of the mapping is for."""


def write(
    path: Path,
    trades: str,
    rows: Iterable[Row],
    orders: str | None = None,
    order_rows: Iterable[Row] = (),
) -> Path:
    """Write a database of its own shape; rows that it has already are replaced."""
    with closing(sqlite3.connect(path)) as bot:
        bot.execute(f"create table if not exists trades ({trades})")
        insert(bot, "trades", rows)
        if orders:
            bot.execute(f"create table if not exists orders ({orders})")
            insert(bot, "orders", order_rows)
        bot.commit()
    return path


def insert(bot: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    for row in rows:
        marks = ", ".join("?" * len(row))
        names = ", ".join(row)
        bot.execute(
            f"insert or replace into {table} ({names}) values ({marks})", tuple(row.values())
        )


def without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def order(order_id: str, side: str, filled: float, price: float, **more: Any) -> Row:
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
