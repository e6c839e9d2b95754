"""A slow, obvious reckoner of lots, in fractions: what `recon.lots.book` is held to.

It thinks in real numbers and lists, knows no scaled integers, and rounds only where the rule says
so: what is released of a cost or a fee is cut off, towards zero, at the eighteenth decimal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import trunc

UNIT = Fraction(1, 10**18)


@dataclass
class Fill:
    qty: Fraction  # bought +, sold -
    price: Fraction
    fee: Fraction  # paid -


@dataclass
class Funding:
    amount: Fraction


@dataclass
class Outcome:
    closed: Fraction = Fraction(0)
    gross: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)
    funding: Fraction = Fraction(0)


@dataclass
class Pile:
    """What one fill opened (FIFO), or everything that is open (average)."""

    qty: Fraction
    value: Fraction
    fee: Fraction
    gone: Fraction = field(default_factory=Fraction)


def cut(amount: Fraction, *, is_rounding: bool) -> Fraction:
    return trunc(amount / UNIT) * UNIT if is_rounding else amount


class Reckoner:
    def __init__(
        self,
        method: str,
        *,
        multiplier: Fraction = Fraction(1),
        is_inverse: bool = False,
        is_rounding: bool = True,
    ) -> None:
        self.method = method
        self.multiplier = multiplier
        self.is_inverse = is_inverse
        self.is_rounding = is_rounding
        self.position = Fraction(0)
        self.piles: list[Pile] = []
        self.funding = Fraction(0)

    def run(self, history: Sequence[Fill | Funding]) -> list[Outcome]:
        return [self.fill(e) if isinstance(e, Fill) else self.fund(e) for e in history]

    def value(self, qty: Fraction, price: Fraction) -> Fraction:
        exact = qty * self.multiplier / price if self.is_inverse else qty * self.multiplier * price
        return self.cut(exact)

    def cut(self, amount: Fraction) -> Fraction:
        return cut(amount, is_rounding=self.is_rounding)

    def fund(self, event: Funding) -> Outcome:
        if self.position == 0:
            return Outcome(funding=event.amount)
        self.funding += event.amount
        return Outcome()

    def fill(self, event: Fill) -> Outcome:
        size = abs(event.qty)
        value = self.value(size, event.price)
        same_side = self.position == 0 or (self.position > 0) == (event.qty > 0)
        closing = Fraction(0) if same_side else min(size, abs(self.position))
        closing_value = value if closing == size else self.cut(value * closing / size)
        closing_fee = event.fee if closing == size else self.cut(event.fee * closing / size)
        outcome = Outcome()
        if closing:
            outcome = self.close(closing, closing_value, closing_fee)
        self.position += event.qty
        if closing < size:
            self.pile_up(size - closing, value - closing_value, event.fee - closing_fee)
        return outcome

    def pile_up(self, qty: Fraction, value: Fraction, fee: Fraction) -> None:
        if self.method == "fifo" or not self.piles:
            self.piles.append(Pile(qty, value, fee))
        else:
            [pile] = self.piles
            pile.qty, pile.value, pile.fee = pile.qty + qty, pile.value + value, pile.fee + fee

    def close(self, qty: Fraction, value: Fraction, fee: Fraction) -> Outcome:
        whole = abs(self.position)
        funding = self.funding if qty == whole else self.cut(self.funding * qty / whole)
        self.funding -= funding
        entry = opening_fee = Fraction(0)
        left = qty
        while left:
            pile = self.piles[0]
            take = min(left, pile.qty - pile.gone)
            before, after = pile.gone / pile.qty, (pile.gone + take) / pile.qty
            entry += self.cut(pile.value * after) - self.cut(pile.value * before)
            opening_fee += self.cut(pile.fee * after) - self.cut(pile.fee * before)
            pile.gone += take
            left -= take
            if pile.gone == pile.qty:
                self.piles.pop(0)
            elif self.method == "average":
                self.piles[0] = Pile(
                    pile.qty - pile.gone,
                    pile.value - self.cut(pile.value * after),
                    pile.fee - self.cut(pile.fee * after),
                )
        gain = value - entry if (self.position > 0) != self.is_inverse else entry - value
        return Outcome(qty, gain, fee + opening_fee, funding)
