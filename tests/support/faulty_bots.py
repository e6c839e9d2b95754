"""Bots that lie, each in ways that are planted: their trades at the venue, and as their books say.

Every trade opens and closes an instrument's position by orders of its own, each of one or more
fills. What is planted is reckoned here in fractions, a lie at a time, in the order in which a walk
from the books to the broker puts them right: side, multiplier, quantity, price; fee; funding.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_instruments import swap
from recon.demo.venues.okx_position import Side
from tests.support.fleet import NOW, OPENING, Row, Trader

IN_THE_ROW = (
    "side",
    "multiplier",
    "quantity",
    "price",
    "fee_missing",
    "fee_rate_guessed",
    "funding_missing",
    "funding_misplaced",
    "arithmetic",
)
ABOUT_THE_ROW = ("duplicate", "phantom", "unrecorded", "timing")
LIES = (*IN_THE_ROW, *ABOUT_THE_ROW)
MULTIPLIERS = ("0.01", "0.1", "10")
OKB = Fraction(101, 2)


def written(value: Fraction) -> str:
    """Write a fraction as a decimal of at most 15 places, as a bot keeps it."""
    return format(Decimal(round(value * 10**15)).scaleb(-15).normalize(), "f")


@dataclass(slots=True)
class Trip:
    """One trade as it was: signed contracts, the fills of its two orders, and what it cost."""

    sign: int
    qty: int
    entry: list[tuple[int, Fraction]]
    exit: list[tuple[int, Fraction]]
    fees: Fraction
    funding: Fraction
    opened_at: datetime
    closed_at: datetime
    orders: tuple[str, str]

    def mean(self, fills: Sequence[tuple[int, Fraction]]) -> Fraction:
        return sum((qty * price for qty, price in fills), Fraction(0)) / self.qty


@dataclass(slots=True)
class Liar:
    """One bot with an instrument of its own; `planted` is by cause, over the window."""

    rng: random.Random
    number: int
    lies: Sequence[str]
    book: OkxAccount
    names_orders: bool = True
    planted: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    rows: list[Row] = field(default_factory=list)
    instrument: str = ""
    multiplier: Fraction = Fraction(1)
    is_in_contracts: bool = False

    def __post_init__(self) -> None:
        self.instrument = f"C{self.number}-USDT-SWAP"
        self.multiplier = Fraction(self.rng.choice(MULTIPLIERS))
        self.is_in_contracts = self.rng.random() < 0.5
        if self.rng.random() < 0.5 or "multiplier" in self.lies:
            self.is_in_contracts = True
        self.book.add_instrument(swap(self.instrument, written(self.multiplier)))

    @property
    def bot(self) -> Trader:
        """It as recon.toml has it."""
        return Trader(id=f"bot{self.number}", instruments=(self.instrument,), trades=self.rows)

    def live(self, trips: int) -> None:
        """Trade so many times at the venue, one trade after the other, and book each."""
        step = (NOW - timedelta(hours=6) - OPENING) / trips
        for turn in range(trips):
            trip = self._trade(OPENING + timedelta(hours=1) + step * turn, step, f"{turn}")
            self._book(trip, f"{self.number}.{turn}")

    def _trade(self, at: datetime, step: timedelta, name: str) -> Trip:
        rng, sign = self.rng, self.rng.choice([1, -1])
        at = at.replace(microsecond=0)
        qty = rng.choice([4, 10, 20])
        fees, legs, orders = Fraction(0), [], []
        for place in range(2):
            sizes = [qty] if rng.random() < 0.4 else [qty // 4 or 1, qty - (qty // 4 or 1)]
            order = f"{self.number:03}{name}{place}77"
            orders.append(order)
            fills = []
            for index, size in enumerate(sizes):
                price = Fraction(rng.randint(9_000, 11_000), 10)
                fee = Fraction(-rng.randint(1, 900), 1000)
                side: Side = "buy" if sign * (1 if place == 0 else -1) > 0 else "sell"
                self.book.trade(
                    self.instrument,
                    side,
                    size,
                    written(price),
                    at + step * place / 2 + timedelta(seconds=index),
                    fee=written(fee),
                    ord_id=order,
                )
                fees += fee
                fills.append((size, price))
            legs.append(fills)
            if place == 0:
                funding = Fraction(-rng.randint(1, 500), 100)
                self.book.funding(self.instrument, at + step / 4, amount=written(funding))
        return Trip(
            *(
                sign,
                qty,
                legs[0],
                legs[1],
                fees,
                funding,
                at,
                at + step / 2 + timedelta(seconds=1),
            ),
            (orders[0], orders[1]),
        )

    def _book(self, trip: Trip, name: str) -> None:
        lies = [lie for lie in self.lies if self.rng.random() < 0.4]
        if "unrecorded" in lies:
            self.planted["unrecorded"] -= self._gross(trip, set()) + trip.fees + trip.funding
            return
        row = self._row(trip, name, lies)
        self.rows.append(row)
        if "duplicate" in lies:
            self.rows.append(row | {"trade_id": f"{name}/again"})
            self.planted["duplicate"] += Fraction(row["pnl"])
        if "phantom" in lies:
            ghost = {"trade_id": f"{name}/ghost", "order_ids": f"never{name},nor{name}"}
            self.rows.append(row | ghost)
            self.planted["phantom"] += Fraction(row["pnl"])

    def _row(self, trip: Trip, name: str, lies: Sequence[str]) -> Row:
        told = {lie for lie in lies if lie in IN_THE_ROW}
        fee, funding = self._costs(trip, told)
        left = self._gross(trip, told)
        gross = left
        for lie in ("side", "multiplier", "quantity", "price"):
            if lie in told:
                told.discard(lie)
                self.planted[lie] += left - self._gross(trip, told)
                left = self._gross(trip, told)
        odd = Fraction(self.rng.randint(1, 999) * 100 + 7, 10_000)  # no cost is like it
        odd = odd if "arithmetic" in lies else Fraction(0)
        self.planted["arithmetic"] += odd
        closed_at = trip.closed_at
        if "timing" in lies and closed_at - timedelta(days=1) > OPENING:
            closed_at -= timedelta(days=1)
        side, qty, entry, exit_ = self._terms(trip, set(lies))
        return {
            "trade_id": name,
            "instrument": self.instrument,
            "side": side,
            "qty": written(qty if self.is_in_contracts else qty * self.multiplier),
            "opened_at": min(trip.opened_at, closed_at).strftime("%Y-%m-%d %H:%M:%S"),
            "closed_at": closed_at.strftime("%Y-%m-%d %H:%M:%S"),
            "entry_price": written(entry),
            "exit_price": written(exit_),
            "gross": written(gross),
            "fee": written(fee),
            "funding": written(funding),
            "pnl": written(gross + fee + funding + odd),
            "order_ids": ",".join(trip.orders) if self.names_orders else None,
        }

    def _costs(self, trip: Trip, told: set[str]) -> tuple[Fraction, Fraction]:
        fee, funding = trip.fees, trip.funding
        if "fee_missing" in told:
            fee = Fraction(0)
            self.planted["fee_missing"] -= trip.fees
        elif "fee_rate_guessed" in told:
            fee = trip.fees * Fraction(3, 4)
            self.planted["fee_rate_guessed"] += fee - trip.fees
        if "funding_missing" in told:
            funding = Fraction(0)
            self.planted["funding_missing"] -= trip.funding
        elif "funding_misplaced" in told:
            funding = trip.funding * 2
            self.planted["funding_misplaced"] += funding - trip.funding
        return fee, funding

    def _terms(self, trip: Trip, told: set[str]) -> tuple[str, Fraction, Fraction, Fraction]:
        sign = -trip.sign if "side" in told else trip.sign
        qty = Fraction(trip.qty) + (1 if "quantity" in told else 0)
        entry, exit_ = trip.mean(trip.entry), trip.mean(trip.exit)
        if "price" in told:
            exit_ = trip.exit[0][1] + (Fraction(1) if len(trip.exit) == 1 else 0)
        return "long" if sign > 0 else "short", qty, entry, exit_

    def _gross(self, trip: Trip, told: set[str]) -> Fraction:
        side, qty, entry, exit_ = self._terms(trip, told)
        multiplier = Fraction(1) if "multiplier" in told else self.multiplier
        return (1 if side == "long" else -1) * qty * multiplier * (exit_ - entry)


def planted(liar: Liar) -> dict[str, Any]:
    """Return what is planted, without what comes to nothing."""
    return {cause: amount for cause, amount in liar.planted.items() if amount}
