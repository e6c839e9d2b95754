"""Bots whose books have a row for each fill, with one thing wrong: random histories at one venue.

A history has orders of one to three fills, partial exits and turns through zero, and may end open.
What is wrong is planted in the books alone; the venue's side is what happened.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_instruments import swap
from tests.bot_databases.test_hummingbot import fill, order
from tests.bot_databases.test_octobot import trade
from tests.support.bots import HUMMINGBOT, Row, database
from tests.support.fleet import NOW, OPENING, Trader
from tests.support.reckoner import Fill, Reckoner

KINDS = ("hummingbot", "octobot", "passivbot")
LIES = {
    "fee_zero": "fee_missing",
    "fee_sign": "fee_rate_guessed",
    "fee_rate": "fee_rate_guessed",
    "price": "price",
    "qty": "quantity",
    "doubled": "duplicate",
    "missing": "unrecorded",
    "phantom": "phantom",
}
"""What may be wrong with the books, and the cause that it has to be named by."""
OWN_PROFIT = ("price", "qty")
"""What passivbot's books cannot be wrong by: its profit is none that recon works out."""


@dataclass(frozen=True)
class Done:
    """One fill: at the venue, or as the books have it. `qty` is in contracts, bought +."""

    order: str
    name: str
    at: datetime
    qty: Fraction
    price: Fraction
    fee: Fraction


@dataclass
class Diary:
    """One bot of a kind, with an instrument of its own and one lie about its fills."""

    rng: random.Random
    number: int
    kind: str
    lie: str
    book: OkxAccount
    costs_booked: str = "when_paid"
    names_orders: bool = True
    fills: list[Done] = field(default_factory=list)
    told: list[Done] = field(default_factory=list)
    multiplier: Fraction = Fraction(1, 10)

    def __post_init__(self) -> None:
        self.coin = f"C{self.number}"
        self.multiplier = Fraction(self.rng.choice(["0.01", "0.1", "1"]))
        self.book.add_instrument(swap(f"{self.coin}-USDT-SWAP", text(self.multiplier)))

    def live(self, orders: int) -> None:
        """Trade at the venue, and write down what the books say of it, with the lie."""
        rng, held = self.rng, Fraction(0)
        step = (NOW - timedelta(hours=30) - OPENING) / orders
        for turn in range(orders):
            at = (OPENING + timedelta(hours=1) + step * turn).replace(microsecond=0)
            sign = (
                rng.choice([1, -1]) if not held or rng.random() < 0.3 else (-1 if held > 0 else 1)
            )
            name = f"8{self.number:03}{turn:03}"
            parts = rng.choice([1, 1, 2, 3])
            if self.kind == "octobot" and held * sign < 0:
                parts = 1  # a mean price is another trade than the fills only where these turn
            for part in range(parts):
                qty = Fraction(sign * rng.randint(1, 12))
                price = Fraction(rng.randint(9_000, 11_000), 10)
                fee = Fraction(-rng.randint(100, 900), 1000)
                when = at + timedelta(seconds=part)
                self.book.trade(
                    f"{self.coin}-USDT-SWAP",
                    "buy" if sign > 0 else "sell",
                    int(abs(qty)),
                    text(price),
                    when,
                    fee=text(fee),
                    ord_id=name,
                    cl_ord_id=f"c{name}",
                )
                trade_id = str(self.book.fills.rows[-1]["tradeId"])
                held += qty
                self.fills.append(Done(name, trade_id, when, qty, price, fee))
        rows = by_order(self.fills) if self.kind == "octobot" else self.fills
        self.told = self._lied(rows)

    def _lied(self, rows: Sequence[Done]) -> list[Done]:
        lie, rows = self.lie, list(rows)
        if lie.startswith("fee_"):
            factor = {"fee_zero": Fraction(0), "fee_sign": Fraction(-1), "fee_rate": Fraction(3, 2)}
            return [replace(one, fee=one.fee * factor[lie]) for one in rows]
        place = self.rng.randrange(len(rows) // 4, len(rows) - 2)
        one = rows[place]
        if lie == "price":
            rows[place] = replace(one, price=one.price + 7)
        elif lie == "qty":
            rows[place] = replace(one, qty=one.qty * Fraction(5, 4))
        elif lie == "doubled":
            rows.insert(place + 1, replace(one, name=f"{one.name}9"))
        elif lie == "missing":
            rows.pop(place)
        elif lie == "phantom":
            ghost = replace(
                one,
                order=f"7{one.order}",
                name=f"7{one.name}",
                price=one.price + 3,
                at=one.at + timedelta(minutes=20),
            )
            rows.insert(place + 1, ghost)
        return rows

    def bot(self, folder: Path) -> Trader:
        """Write its books, and return it as recon.toml has it."""
        place = folder / f"books{self.number}"
        place.mkdir(parents=True)
        books = {
            "hummingbot": self._hummingbot,
            "octobot": self._octobot,
            "passivbot": self._passivbot,
        }[self.kind](place)
        return Trader(
            id=f"bot{self.number}",
            instruments=(f"{self.coin}-USDT-SWAP",),
            claims=None,
            database=books,
            mapping=self.kind,
            costs_booked=self.costs_booked,
        )

    def _coins(self, qty: Fraction) -> Fraction:
        return abs(qty) * self.multiplier

    def _hummingbot(self, place: Path) -> str:
        rows = [
            fill(
                0,
                "BUY" if one.qty > 0 else "SELL",
                text(self._coins(one.qty)),
                text(one.price),
                text(-one.fee),
                symbol=f"{self.coin}-USDT",
                order_id=f"h{one.order}",
                exchange_trade_id=one.name,
                timestamp=ms(one.at),
            )
            for one in self.told
        ]
        orders = {
            one.order: {**order(f"h{one.order}"), "exchange_order_id": one.order, "leverage": 1}
            for one in self.told
        }
        some = list(orders.values()) if self.names_orders else []
        database(place / "bot.sqlite", HUMMINGBOT, TradeFill=rows, Order_=some)
        return f"sqlite:///{place.name}/bot.sqlite"

    def _octobot(self, place: Path) -> str:
        rows = [
            trade(
                one.name,
                "buy" if one.qty > 0 else "sell",
                float(self._coins(one.qty)),
                float(one.price),
                symbol=f"{self.coin}/USDT:USDT",
                exchange_id=one.order,
                timestamp=one.at.timestamp(),
                fee={"cost": float(-one.fee), "currency": "USDT", "rate": 0.001},
            )
            for one in self.told
        ]
        if not self.names_orders:
            for row in rows:
                row["origin_value"].update(exchange_id=None, order_id=None)
        table = {str(number): row for number, row in enumerate(rows, 1)}
        (place / "trades.json").write_text(json.dumps({"all_trades": table}))
        return f"json:///{place.name}"

    def _passivbot(self, place: Path) -> str:
        lots = Reckoner("average", multiplier=self.multiplier, is_rounding=False)
        gross, side, held = {}, {}, Fraction(0)
        for one in self.fills:
            gross[one.name] = lots.fill(Fill(one.qty, one.price, Fraction(0))).gross
            is_closing = held * one.qty < 0
            side[one.name] = "long" if (one.qty > 0) != is_closing else "short"
            held += one.qty
        days: dict[str, list[Row]] = {}
        for number, one in enumerate(self.told):
            name = one.name if one.name in gross else one.name.removeprefix("7").removesuffix("9")
            days.setdefault(f"{one.at:%Y-%m-%d}", []).append(
                {
                    "id": one.name if self.names_orders else f"x{number}",
                    "timestamp": ms(one.at),
                    "symbol": f"{self.coin}/USDT:USDT",
                    "side": "buy" if one.qty > 0 else "sell",
                    "qty": float(self._coins(one.qty)),
                    "price": float(one.price),
                    "pnl": float(gross.get(name, 0)),
                    "fee_paid": float(one.fee),
                    "position_side": side.get(name, "long"),
                    "pnl_status": "complete",
                    "client_order_id": f"c{one.order}" if self.names_orders else "",
                    "psize": 0,
                    "pprice": 0,
                }
            )
        for day, rows in days.items():
            (place / f"{day}.json").write_text(json.dumps(rows))
        return f"json:///{place.name}"


def by_order(fills: Sequence[Done]) -> list[Done]:
    """Return one row an order, at the mean price of its fills, as OctoBot keeps them."""
    orders: dict[str, list[Done]] = {}
    for one in fills:
        orders.setdefault(one.order, []).append(one)
    return [
        replace(
            some[0],
            qty=(qty := sum((one.qty for one in some), Fraction(0))),
            price=sum((one.qty * one.price for one in some), Fraction(0)) / qty,
            fee=sum((one.fee for one in some), Fraction(0)),
        )
        for some in orders.values()
    ]


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def text(value: Fraction) -> str:
    return format((Decimal(value.numerator) / Decimal(value.denominator)).normalize(), "f")


def causes_of(bot: dict[str, Any]) -> dict[str, Fraction]:
    return {one["cause"]: Fraction(one["amount"]) for one in bot["window"]["causes"]}
