"""btc-quantum, the bot of the story: +1309.00 in its own vault, -373.00 at the broker.

104 round trips earned 1277.00 before fees, and the fees were 1650.00. Its record_trade() stores
the price difference and never subtracts a fee; and once, where a closing order was filled in two
parts at two prices, it booked the whole at the first: 32.00 too much.

Prices are counted in ticks of 0.1 USDT and quantities in lots of 0.1 BTC, so that a lot that moves
by a tick is worth a cent, and sums of whole numbers can be brought to the planted figures exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random

from recon.demo.story.bot_databases import TradeRow
from recon.demo.story.round_trips import TAKER, Fill, Order, RoundTrip

INSTRUMENT = "BTC-USDT-SWAP"
ORDER_TAG = "btcq"
TRIPS = 104
CLAIMED = Decimal("1309.00")
GROSS = Decimal("1277.00")
FEES = Decimal("-1650.00")
MISSED = Decimal("32.00")

DAYS = 40
SLOT = timedelta(hours=8)
"""Between two funding times. A trip lies within one slot, so no funding is ever due."""
SLOTS = DAYS * 3

TICK = Decimal("0.1")
LOT = Decimal("0.1")
CENT = Decimal("0.01")
GROSS_CENTS = int(GROSS / CENT)
TURNOVER_CENTS = int(-FEES / TAKER / CENT)
FIRST_LEVEL_TICKS = 880_000
PARTIAL_TRIP = 61
"""The one whose closing order was filled at two prices: 0.1 BTC, then 0.4 BTC 80.0 USDT lower."""

Parts = list[tuple[int, int]]
"""The fills of an order: how many lots, at how many ticks."""


@dataclass(slots=True)
class _Draft:
    """A round trip in lots and ticks, before the sums are brought to what is planted."""

    slot: int
    is_long: bool
    entry: Parts
    exit: Parts

    @property
    def lots(self) -> int:
        return sum(lots for lots, _ in self.entry)

    @property
    def turnover_cents(self) -> int:
        return sum(lots * ticks for lots, ticks in (*self.entry, *self.exit))

    @property
    def gross_cents(self) -> int:
        entry, exit_ = (sum(lots * ticks for lots, ticks in one) for one in (self.entry, self.exit))
        return exit_ - entry if self.is_long else entry - exit_

    def shift(self, ticks: int) -> None:
        """Move the whole trip to another price level; what it earned stays."""
        self.entry = [(lots, price + ticks) for lots, price in self.entry]
        self.exit = [(lots, price + ticks) for lots, price in self.exit]

    def earn(self, ticks: int) -> None:
        """Close at a price that is better by `ticks`."""
        better = ticks if self.is_long else -ticks
        self.exit = [(lots, price + better) for lots, price in self.exit]


def btc_quantum(first_day: datetime) -> list[RoundTrip]:
    """Return its trips in the 40 days that begin at `first_day` (midnight, UTC)."""
    random = Random(1309)
    slots = [*sorted(random.sample(range(SLOTS - 1), TRIPS - 1)), SLOTS - 1]
    drafts = _drafts(random, slots)
    _fit(drafts)
    return [
        _trip(random, number, draft, first_day + SLOT * draft.slot)
        for number, draft in enumerate(drafts, 1)
    ]


def record_trade(trips: Sequence[RoundTrip]) -> list[TradeRow]:
    """Return what the bot wrote to its vault: the price difference, and no fee ever."""
    return [_recorded(number, trip) for number, trip in enumerate(trips, 1)]


def _drafts(random: Random, slots: Sequence[int]) -> list[_Draft]:
    level = FIRST_LEVEL_TICKS
    drafts = []
    for number, (before, slot) in enumerate(pairwise([slots[0], *slots]), 1):
        level += random.randint(-2_500, 2_500) * max(1, slot - before)
        is_long = random.random() < 0.5
        lots = random.choices((1, 2, 3), weights=(45, 33, 22))[0]
        move = random.randint(-3_400, 4_700)
        if number == PARTIAL_TRIP:
            entry: Parts = [(5, level)]
            exit_: Parts = [(1, level + move), (4, level + move - 800)]
            drafts.append(_Draft(slot, is_long=True, entry=entry, exit=exit_))
            continue
        if number == TRIPS:
            lots = 1  # one lot, so that the last cent of every sum can be fitted
        closing = level + move if is_long else level - move
        entry = _parts(random, lots, level, worse=1 if is_long else -1)
        exit_ = _parts(random, lots, closing, worse=-1 if is_long else 1)
        drafts.append(_Draft(slot, is_long, entry, exit_))
    return drafts


def _parts(random: Random, lots: int, ticks: int, *, worse: int) -> Parts:
    """Fill an order at once, or, of several lots, now and then in two parts."""
    if lots == 1 or random.random() < 0.6:
        return [(lots, ticks)]
    return [(1, ticks), (lots - 1, ticks + worse * random.randint(1, 12))]


def _fit(drafts: Sequence[_Draft]) -> None:
    """Bring profit and turnover to what is planted: all trips by a little, the last by the rest."""
    last = drafts[-1]
    lots = sum(draft.lots for draft in drafts)
    each, rest = divmod(GROSS_CENTS - sum(draft.gross_cents for draft in drafts), lots)
    for draft in drafts:
        draft.earn(each)
    last.earn(rest)
    each, rest = divmod(TURNOVER_CENTS - sum(draft.turnover_cents for draft in drafts), 2 * lots)
    for draft in drafts:
        draft.shift(each)
    # Profit and turnover differ by twice the entries' value: both are even, so the rest is, too.
    last.shift(rest // 2)


def _trip(random: Random, number: int, draft: _Draft, slot_start: datetime) -> RoundTrip:
    opened_at = slot_start + timedelta(
        minutes=random.randint(10, 200), milliseconds=random.randint(0, 59_999)
    )
    closed_at = opened_at + timedelta(
        minutes=random.randint(4, 240), milliseconds=random.randint(0, 59_999)
    )
    sides = ("buy", "sell") if draft.is_long else ("sell", "buy")
    orders = [
        Order(
            venue_id=str(2_100_000_000_000_000_000 + 2 * number + leg),
            client_id=f"{ORDER_TAG}{number:04d}{'oc'[leg]}",
            side="buy" if sides[leg] == "buy" else "sell",
            fills=_fills(random, parts, at),
        )
        for leg, (parts, at) in enumerate(((draft.entry, opened_at), (draft.exit, closed_at)))
    ]
    return RoundTrip(INSTRUMENT, orders[0], orders[1])


def _fills(random: Random, parts: Parts, at: datetime) -> tuple[Fill, ...]:
    """Date an order's parts: the second in the same millisecond, or a moment later."""
    fills = []
    for lots, ticks in parts:
        fills.append(Fill(at, lots * LOT, ticks * TICK))
        at += timedelta(milliseconds=random.choice((0, 0, 3, 41, 650)))
    return tuple(fills)


def _recorded(number: int, trip: RoundTrip) -> TradeRow:
    if trip.exit is None:
        raise ValueError("record_trade() is called when a trade closes")
    exit_price = trip.exit.fills[0].price if number == PARTIAL_TRIP else trip.exit.average
    pnl = trip.gross
    if number == PARTIAL_TRIP:
        pnl = trip.exit.qty * (exit_price - trip.entry.average)
    return TradeRow(
        symbol=INSTRUMENT,
        side="short" if trip.is_short else "long",
        size=trip.entry.qty,
        opened_at=trip.opened_at,
        closed_at=trip.exit.fills[-1].at,
        entry_price=trip.entry.average,
        exit_price=exit_price,
        pnl=pnl,
        order_ids=tuple(order.venue_id for order in trip.orders),
    )
