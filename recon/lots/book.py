"""Lots: an ordered run of fills and carried costs becomes realised PnL.

This is the one calculation of the project that is a program, and this module is its definition.
It is plain integers from end to end. Money is in units of 10^-18 of the settlement currency;
quantities are in units of 10^-18 of a contract (or share); both are signed ints, quantity + when
bought.

Rules, from the contract:

- *Average cost.* The state is the position's **cost**, never its average. Adding adds; reducing by
  r of Q removes trunc(cost · r / Q); a full close takes all that is left. So cash is conserved
  to the unit: what goes in as cost comes out as cost.
- *FIFO.* The oldest lot first. What is released of a lot's cost and fee once x of its Q are
  consumed is trunc(cost · x / Q), taken as differences, so that the parts sum to the whole.
- *Through zero.* A fill larger than the position closes all of it and opens the rest; its value
  and its fee are split in proportion to quantity, the closing part truncated, the rest exact.
- *Fees.* The part of a fill's fee that closes is realised with it; the part that opens is carried,
  and released with the quantity that it opened.
- *Funding* is carried by the position as a whole and released in proportion as it is closed. With
  no position open it counts at once, as every other cost without a quantity always does.
- *Splits* change the quantity of open lots, in proportion, and nothing of what they cost.
- *Handing over*: an option that is exercised or assigned leaves at what it cost, and lots whose
  paper was renamed go on under another name, as they are: neither realises anything.
- *Inverse contracts* settle in coin: a fill's value is quantity · multiplier / price, and a long
  gains entry value − exit value. The caller gives the value and says that it is inverse.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from recon.core.records import Method


class Realised(NamedTuple):
    """What one event realised. Quantity unsigned; money signed as cash, in units of 10^-18."""

    closed_qty: int
    gross: int
    fees: int
    funding: int
    other: int


NOTHING = Realised(0, 0, 0, 0, 0)


@dataclass(slots=True)
class Lot:
    """Quantity bought or sold at once (FIFO), or all of it together (average).

    Quantity and value are unsigned, the fee is signed as cash.
    """

    qty: int
    value: int
    fee: int
    consumed: int = 0

    @property
    def left(self) -> int:
        """The quantity that nothing has consumed yet."""
        return self.qty - self.consumed

    def consume(self, qty: int) -> tuple[int, int]:
        """Take `qty` out of the lot; return the value and the fee released with it."""
        before, after = self.consumed, self.consumed + qty
        self.consumed = after
        return (
            _share(self.value, after, self.qty) - _share(self.value, before, self.qty),
            _share(self.fee, after, self.qty) - _share(self.fee, before, self.qty),
        )


@dataclass(slots=True)
class Book:
    """The open lots of one key: account, instrument, position side and owner.

    Feed it events in the order in which they happened; each call returns what it realised. A book
    goes on where it was left when it is made again from what these fields were: `lots` are those
    that are open, the oldest first, and `first_lot` is how many lots were used up before them.
    `matches` counts the lots that fills closed, wholly or in part, since the book was made: a lot
    that three fills closed counts three times.
    """

    method: Method
    is_inverse: bool = False
    qty: int = 0
    funding: int = 0
    first_lot: int = 0
    lots: deque[Lot] = field(default_factory=deque)
    matches: int = 0

    @property
    def cost(self) -> int:
        """The value, at entry, of what is open. Unsigned, in units of 10^-18."""
        return sum(lot.value - _share(lot.value, lot.consumed, lot.qty) for lot in self.lots)

    @property
    def carried_fees(self) -> int:
        """Fees paid on what is still open, signed as cash."""
        return sum(lot.fee - _share(lot.fee, lot.consumed, lot.qty) for lot in self.lots)

    def fill(self, qty: int, value: int, fee: int) -> Realised:
        """Book a fill of signed `qty` and unsigned `value` (its quantity at its price)."""
        if not qty:
            raise ValueError("a fill has a quantity")
        size = abs(qty)
        is_reducing = self.qty * qty < 0
        closing = min(size, abs(self.qty)) if is_reducing else 0
        closing_value = value if closing == size else _share(value, closing, size)
        closing_fee = fee if closing == size else _share(fee, closing, size)
        realised = self._close(closing, closing_value, closing_fee) if closing else NOTHING
        self.qty += qty
        if closing < size:
            self._open(size - closing, value - closing_value, fee - closing_fee)
        return realised

    def fund(self, amount: int) -> Realised:
        """Book funding, signed as cash: carried while a position is open, else counted at once."""
        if self.qty:
            self.funding += amount
            return NOTHING
        return NOTHING._replace(funding=amount)

    def adjust(self, change: int) -> bool:
        """Let a corporate action change the position by signed `change`; say whether it can.

        Each open lot's quantity changes in proportion, the sum exactly; cost and fees stay. A
        position that it would close, turn or find flat is left alone.
        """
        after = self.qty + change
        if self.qty * after <= 0:
            return False
        sizes = split(abs(after), [lot.left for lot in self.lots])
        largest = sizes.index(max(sizes))
        lots = [Lot(size, *_kept(lot)) for size, lot in zip(sizes, self.lots, strict=True)]
        for lot in lots:
            if not lot.qty:  # less than a unit is left of it: its cost stays with the others
                lots[largest].value += lot.value
                lots[largest].fee += lot.fee
        self.lots = deque(lot for lot in lots if lot.qty)
        self.qty = after
        return True

    def give(self, qty: int) -> tuple[int, int]:
        """Take unsigned `qty` out of the position at cost; return its value and its fee."""
        value, fee = self._take(qty)
        self.qty -= qty if self.qty > 0 else -qty
        return value, fee

    def move(self, other: Book) -> None:
        """Hand every lot over, as it is, to a book that is flat."""
        if other.qty:
            raise ValueError("lots go on in a book that is flat")
        given = deque(Lot(lot.left, *_kept(lot)) for lot in self.lots)
        self.first_lot += len(self.lots)
        other.lots, other.qty, other.funding = given, self.qty, other.funding + self.funding
        self.lots, self.qty, self.funding = deque(), 0, 0

    def _open(self, qty: int, value: int, fee: int) -> None:
        if self.method == "fifo" or not self.lots:
            self.lots.append(Lot(qty, value, fee))
            return
        pool = self.lots[0]
        self.lots[0] = Lot(pool.qty + qty, pool.value + value, pool.fee + fee)

    def _close(self, qty: int, value: int, fee: int) -> Realised:
        funding = self.funding if qty == abs(self.qty) else _share(self.funding, qty, abs(self.qty))
        self.funding -= funding
        entry, opening_fee = self._take(qty)
        is_long = self.qty > 0
        gross = value - entry if is_long != self.is_inverse else entry - value
        return Realised(qty, gross, fee + opening_fee, funding, 0)

    def _take(self, qty: int) -> tuple[int, int]:
        if self.method == "average":
            self.matches += 1
            return self._take_average(qty)
        value = fee = 0
        while qty:
            lot = self.lots[0]
            part = min(qty, lot.left)
            lot_value, lot_fee = lot.consume(part)
            value, fee, qty = value + lot_value, fee + lot_fee, qty - part
            self.matches += 1
            if not lot.left:
                self.lots.popleft()
                self.first_lot += 1
        return value, fee

    def _take_average(self, qty: int) -> tuple[int, int]:
        """Release from the pool and make what remains the new pool: the state is the cost."""
        pool = self.lots.popleft()
        value, fee = pool.consume(qty)
        if pool.left:
            self.lots.append(Lot(pool.left, pool.value - value, pool.fee - fee))
        return value, fee


def _kept(lot: Lot) -> tuple[int, int]:
    """Return the value and the fee of what nothing has consumed of a lot."""
    return (
        lot.value - _share(lot.value, lot.consumed, lot.qty),
        lot.fee - _share(lot.fee, lot.consumed, lot.qty),
    )


def _share(amount: int, part: int, whole: int) -> int:
    """Return trunc(amount · part / whole), towards zero for either sign."""
    share = abs(amount) * part // whole
    return share if amount >= 0 else -share


def split(amount: int, weights: list[int]) -> list[int]:
    """Return `amount` split in proportion to `weights` (signed), the parts summing to it exactly.

    Parts are truncated towards zero; what is left over goes to the weight that is largest in
    absolute terms, the first of them. The weights must not sum to zero.
    """
    whole = sum(weights)
    sign = 1 if whole > 0 else -1
    parts = [_share(amount, abs(w), abs(whole)) * (1 if w * sign >= 0 else -1) for w in weights]
    largest = max(range(len(weights)), key=lambda index: abs(weights[index]))
    parts[largest] += amount - sum(parts)
    return parts
