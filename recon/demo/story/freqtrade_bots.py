"""Two bots that run freqtrade: eth-honest books its funding, sol-forgetful books 0.0 of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from recon.demo.story.round_trips import Fill, Order, Payment, RoundTrip

FUNDING_EVERY = timedelta(hours=8)
DIGITS = Decimal("0.00000001")
CLIENT_PREFIX = "e847386590ce4dBC"
"""What ccxt puts before the client id of an order that was given none."""
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Style:
    """How a bot trades: quantities in lots, prices in ticks, times in minutes, rates in 10^-6."""

    instrument: str
    first_order: int
    lot: Decimal
    lots: tuple[int, int]
    level_ticks: int
    drift_ticks: int
    move_ticks: tuple[int, int]
    gap_min: tuple[int, int]
    held_min: tuple[int, int]
    rate_millionths: tuple[int, int]
    short_share: float


ETH = _Style(
    instrument="ETH-USDT-SWAP",
    first_order=2_200_000_000_000_000_000,
    lot=Decimal("0.2"),
    lots=(5, 20),
    level_ticks=304_000,
    drift_ticks=1_800,
    move_ticks=(-2_100, 3_100),
    gap_min=(300, 1_500),
    held_min=(25, 900),
    rate_millionths=(-20, 100),
    short_share=0.4,
)
SOL = _Style(
    instrument="SOL-USDT-SWAP",
    first_order=2_300_000_000_000_000_000,
    lot=Decimal(2),
    lots=(40, 75),
    level_ticks=15_200,
    drift_ticks=150,
    move_ticks=(-420, 640),
    gap_min=(400, 1_500),
    held_min=(2_400, 5_000),
    rate_millionths=(20, 130),
    short_share=0.0,
)
TICK = Decimal("0.01")


def eth_honest(end: datetime) -> list[RoundTrip]:
    """Return thirty trips, long and short; the last is closed on the day that ends at `end`."""
    return _trips(ETH, Random(30), 30, last_close=end - timedelta(hours=2, minutes=17))


def sol_forgetful(end: datetime) -> list[RoundTrip]:
    """Return eight trips held for days, and a ninth that is still open at `end`."""
    trips = _trips(SOL, Random(8), 9, last_close=end + timedelta(hours=30))
    still_open = trips[-1]
    paid = tuple(payment for payment in still_open.funding if payment.at < end)
    return [*trips[:-1], RoundTrip(SOL.instrument, still_open.entry, None, paid)]


def _trips(style: _Style, random: Random, count: int, *, last_close: datetime) -> list[RoundTrip]:
    """Return `count` trips one after the other, the last of which closes at `last_close`."""
    gaps = [random.randint(*style.gap_min) * MINUTE for _ in range(count)]
    held = [random.randint(*style.held_min) * MINUTE for _ in range(count)]
    at = last_close - sum((*gaps, *held), timedelta())
    level = style.level_ticks
    trips = []
    for number in range(count):
        at += gaps[number]
        level += random.randint(-style.drift_ticks, style.drift_ticks)
        trip, level = _trip(style, random, number, level, (at, at + held[number]))
        at += held[number]
        trips.append(trip)
    return trips


def _trip(
    style: _Style, random: Random, number: int, level: int, span: tuple[datetime, datetime]
) -> tuple[RoundTrip, int]:
    """Return one trip, and the price level that it left behind."""
    is_short = random.random() < style.short_share
    qty = random.randint(*style.lots) * style.lot
    move = random.randint(*style.move_ticks)
    closing = level - move if is_short else level + move
    sides = ("sell", "buy") if is_short else ("buy", "sell")
    orders = []
    for leg, (at, ticks) in enumerate(zip(span, (level, closing), strict=True)):
        order_number = style.first_order + 2 * number + leg
        orders.append(
            Order(
                venue_id=str(order_number),
                client_id=f"{CLIENT_PREFIX}{order_number % 1_000_003:012x}",
                side="buy" if sides[leg] == "buy" else "sell",
                fills=_fills(random, at, qty, ticks, worse=1 if sides[leg] == "buy" else -1),
            )
        )
    signed_qty = -qty if is_short else qty
    funding = tuple(_funding(style, random, signed_qty, level, span))
    return RoundTrip(style.instrument, orders[0], orders[1], funding), closing


def _fills(
    random: Random, at: datetime, qty: Decimal, ticks: int, *, worse: int
) -> tuple[Fill, ...]:
    """Fill a market order at once, or in two halves within a millisecond, the second worse."""
    price = ticks * TICK
    if random.random() < 0.6:
        return (Fill(at, qty, price),)
    second = price + worse * random.randint(1, 4) * TICK
    return (Fill(at, qty / 2, price), Fill(at, qty / 2, second))


def _funding(
    style: _Style, random: Random, signed_qty: Decimal, level: int, span: tuple[datetime, datetime]
) -> Iterator[Payment]:
    """Yield a payment for each funding time while the position is held. Who is long pays a rate."""
    opened_at, closed_at = span
    at = opened_at.replace(hour=0, minute=0, second=0, microsecond=0)
    while at < closed_at:
        if at > opened_at:
            rate = Decimal(random.randint(*style.rate_millionths)).scaleb(-6)
            mark = (level + random.randint(-style.drift_ticks, style.drift_ticks)) * TICK
            yield Payment(at, (-signed_qty * mark * rate).quantize(DIGITS))
        at += FUNDING_EVERY
