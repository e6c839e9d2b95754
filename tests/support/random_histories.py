"""Random lives of an OKX account: everything that may befall it, and what it is due by a reckoner.

What is earned is reckoned in fractions, an instrument at a time, in its own currency; costs are
worth what they were when they were paid, gains what they are when they are realised.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from recon.demo.venues.okx_instruments import future, option, spot
from recon.demo.venues.okx_lifecycle import OkxLife
from tests.support.fleet import BTC, ETH, NOW, OPENING, SOL
from tests.support.reckoner import Fill, Funding, Outcome, Reckoner

INVERSE, DATED, DATED_COIN = "BTC-USD-SWAP", "BTC-USDT-260626", "BTC-USD-260626"
CALLS = ("BTC-USD-260529-90000-C", "BTC-USD-260529-95000-C")
COIN = "LTC-USDT"
TYPES = ("SWAP", "FUTURES", "OPTION", "SPOT", "MARGIN")
FACES = {
    BTC: Fraction(1, 100),
    ETH: Fraction(1, 10),
    SOL: Fraction(1),
    INVERSE: Fraction(100),
    DATED: Fraction(1, 100),
    DATED_COIN: Fraction(100),
    COIN: Fraction(1),
    **dict.fromkeys(CALLS, Fraction(1, 100)),
}
PRICES = {
    BTC: 60_000,
    ETH: 3_000,
    SOL: 150,
    INVERSE: 60_000,
    DATED: 60_500,
    DATED_COIN: 60_500,
    COIN: 80,
}
IN_COIN = frozenset({INVERSE, DATED_COIN, *CALLS})
OKB = Fraction(101, 2)


def btc_price(minute_ms: int) -> Decimal:
    """The close of a minute's candle of BTC."""
    return Decimal(60_000) + minute_ms // 60_000 % 500


@dataclass
class Life:
    """One account in USDT, lived through day by day: the venue's side of it, and what it is due."""

    rng: random.Random
    book: OkxLife = field(default_factory=lambda: OkxLife(now=lambda: NOW))
    due: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    _books: dict[str, Reckoner] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for instrument in (
            future(DATED, "0.01"),
            future(DATED_COIN, 100),
            *map(option, CALLS),
            spot(COIN),
        ):
            self.book.add_instrument(instrument)
        self.book.closes["BTC-USDT"] = btc_price
        self.book.closes["OKB-USDT"] = lambda _: Decimal("50.5")
        self.book.profile.acct_lv = "3"
        for ccy, amount in {"USDT": 900_000, "BTC": 90, "OKB": 900}.items():
            self.book.deposit(ccy, amount, OPENING - timedelta(days=2))  # before the window

    def live(self, fills: int) -> None:
        """Let everything befall it until there are so many fills; options expire at the end."""
        span = NOW - timedelta(hours=4) - OPENING
        turn = 0
        while len(self.book.fills.rows) < fills:
            at = OPENING + timedelta(hours=1) + span * turn / (fills * 2)
            self._turn(at.replace(microsecond=at.microsecond // 1000 * 1000))
            turn += 1
        for name in CALLS:
            if self.held(name):
                self._expire(name, NOW - timedelta(hours=3))

    def held(self, name: str) -> Fraction:
        """What is held of an instrument, bought +."""
        return self._reckoner(name).position

    def _turn(self, at: datetime) -> None:
        steps = [self._trade] * 8 + [self._fund] * 2
        steps += [self._settle, self._reduce, self._interest, self._move]
        self.rng.choice(steps)(at)

    def _trade(self, at: datetime) -> None:
        name = self.rng.choice([*PRICES, *CALLS])
        qty = self.rng.choice([-7, -3, -1, 1, 2, 5])
        if name in CALLS:
            price = Fraction(self.rng.randint(100, 400), 10_000)
        else:
            price = Fraction(PRICES[name] * self.rng.randint(9_000, 11_000), 10_000)
        terms: dict[str, Any] = {"mgn_mode": "isolated"} if name == SOL else {}
        if name == COIN:  # what is not there is borrowed
            terms["is_on_margin"] = self.held(name) + qty < 0 or self.rng.random() < 0.5
        fee = Fraction(self.rng.randint(-900, 90), 10**7 if name in IN_COIN else 10**4)
        paid = fee * self._rate(name, at)
        if name != COIN and self.rng.random() < 0.15:
            terms["fee_ccy"], paid = "OKB", fee * OKB
        side = "buy" if qty > 0 else "sell"
        left = Fraction(qty)
        if name == COIN and qty > 0:  # what the fee took was never there
            fee = -abs(fee)
            left, paid = Fraction(qty) + fee, fee * price
        self.book.trade(name, side, abs(qty), decimal(price), at, fee=decimal(fee), **terms)  # type: ignore[arg-type]
        self._earn(name, at, Fill(left, price, paid))

    def _fund(self, at: datetime) -> None:
        name = self.rng.choice([BTC, ETH, SOL, INVERSE])
        if not self.held(name):
            return
        amount = Fraction(self.rng.randint(-900, 500), 10**6 if name in IN_COIN else 10**3)
        self.book.funding(name, at, amount=decimal(amount))
        self._earn(name, at, Funding(amount * self._rate(name, at)))

    def _settle(self, at: datetime) -> None:
        name = self.rng.choice([DATED, DATED_COIN])
        if self.held(name):
            self.book.settle(name, PRICES[name] + self.rng.randint(-500, 500), at)

    def _reduce(self, at: datetime) -> None:
        name = self.rng.choice([BTC, ETH, DATED])
        held = self.held(name)
        if not held:
            return
        part = Fraction(self.rng.randint(1, abs(int(held))))
        price = PRICES[name] + self.rng.randint(-9, 9)
        kind = self.rng.choice(["adl", "liquidation", "delivery"] if name == DATED else ["adl"])
        self.book.reduce(name, decimal(part), price, at, kind=kind)  # type: ignore[arg-type]
        self._earn(name, at, Fill(-part if held > 0 else part, Fraction(price), Fraction(0)))

    def _expire(self, name: str, at: datetime) -> None:
        value = self.rng.choice([Fraction(0), Fraction(437, 10_000)])
        held = self.held(name)
        self.book.exercise(name, decimal(value), at)
        self._earn(name, at, Fill(-held, value, Fraction(0)))

    def _interest(self, at: datetime) -> None:
        ccy, amount = self.rng.choice([("USDT", Fraction(-3, 2)), ("BTC", Fraction(-1, 10_000))])
        bill_type, sub_type = self.rng.choice([("7", "9"), ("10", "108")])
        self.book.entry(ccy, decimal(amount), at, bill_type, sub_type)
        self.due["other"] += amount * (1 if ccy == "USDT" else coin(at))

    def _move(self, at: datetime) -> None:
        if self.rng.random() < 0.5:
            self.book.deposit("USDT", self.rng.choice([500, -200]), at)
        else:
            self.book.convert("USDT", 610, "BTC", "0.01", at)

    def _earn(self, name: str, at: datetime, event: Fill | Funding) -> None:
        book = self._reckoner(name)
        rate = self._rate(name, at)
        outcome: Outcome = book.fill(event) if isinstance(event, Fill) else book.fund(event)
        self.due["gross"] += outcome.gross * rate
        self.due["fees"] += outcome.fees
        self.due["funding"] += outcome.funding

    def _reckoner(self, name: str) -> Reckoner:
        is_inverse = name in IN_COIN and name not in CALLS
        new = Reckoner("average", multiplier=FACES[name], is_inverse=is_inverse, is_rounding=False)
        return self._books.setdefault(name, new)

    def _rate(self, name: str, at: datetime) -> Fraction:
        return coin(at) if name in IN_COIN else Fraction(1)


def coin(at: datetime) -> Fraction:
    """What a bitcoin is in dollars, in the minute of `at`."""
    return Fraction(btc_price(int(at.timestamp() * 1000)))


def decimal(value: Fraction) -> Decimal:
    """Return a fraction that is a decimal as one."""
    made = Decimal(value.numerator) / Decimal(value.denominator)
    assert Fraction(made) == value
    return made
