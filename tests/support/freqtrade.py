"""freqtrade's databases of each era, as files with rows of one's own."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
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
