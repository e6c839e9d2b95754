"""Round trips on a perpetual: what was filled and paid, and how an account on OKX comes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import partial

from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_position import Side

TAKER = Decimal("0.0005")
"""What OKX charges of the notional for taking liquidity."""
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Fill:
    """One fill: `qty` in coins, positive."""

    at: datetime
    qty: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class Order:
    """One order and its fills as they came. `venue_id` is OKX's number, `client_id` the bot's."""

    venue_id: str
    client_id: str
    side: Side
    fills: tuple[Fill, ...]

    @property
    def qty(self) -> Decimal:
        """What was filled, in coins."""
        return sum((fill.qty for fill in self.fills), ZERO)

    @property
    def value(self) -> Decimal:
        """What was filled, in money."""
        return sum((fill.qty * fill.price for fill in self.fills), ZERO)

    @property
    def average(self) -> Decimal:
        """The price that it was filled at on average."""
        return self.value / self.qty

    @property
    def fee(self) -> Decimal:
        """What OKX charged, signed as cash."""
        return -self.value * TAKER


@dataclass(frozen=True, slots=True)
class Payment:
    """One funding payment, signed as cash."""

    at: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One position from flat to flat; `exit` is None while it is still open."""

    instrument: str
    entry: Order
    exit: Order | None
    funding: tuple[Payment, ...] = ()

    @property
    def is_short(self) -> bool:
        """Whether it was opened by selling."""
        return self.entry.side == "sell"

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders that there were."""
        return (self.entry,) if self.exit is None else (self.entry, self.exit)

    @property
    def opened_at(self) -> datetime:
        """When the first fill opened it."""
        return self.entry.fills[0].at

    @property
    def closed_at(self) -> datetime | None:
        """When the last fill closed it."""
        return None if self.exit is None else self.exit.fills[-1].at

    @property
    def gross(self) -> Decimal:
        """The profit before costs; nothing is realised while it is open."""
        if self.exit is None:
            return ZERO
        gain = self.exit.value - self.entry.value
        return -gain if self.is_short else gain

    @property
    def fees(self) -> Decimal:
        """What both orders were charged, signed as cash."""
        return sum((order.fee for order in self.orders), ZERO)

    @property
    def funding_paid(self) -> Decimal:
        """The sum of its funding, signed as cash."""
        return sum((payment.amount for payment in self.funding), ZERO)

    @property
    def net(self) -> Decimal:
        """What it earned once everything was paid."""
        return self.gross + self.fees + self.funding_paid


def trade_on(account: OkxAccount, trips: Iterable[RoundTrip]) -> None:
    """Let every fill and every payment of `trips` happen on `account`, in the order of time."""
    events = [event for trip in trips for event in _events(account, trip)]
    for _, happen in sorted(events, key=lambda event: event[0]):
        happen()


def _events(
    account: OkxAccount, trip: RoundTrip
) -> Iterator[tuple[datetime, Callable[[], object]]]:
    face = account.instruments[trip.instrument].face
    for order in trip.orders:
        for fill in order.fills:
            trade = partial(
                account.trade,
                trip.instrument,
                order.side,
                fill.qty / face,
                fill.price,
                fill.at,
                ord_id=order.venue_id,
                cl_ord_id=order.client_id,
            )
            yield fill.at, trade
    for payment in trip.funding:
        pay = partial(account.funding, trip.instrument, payment.at, amount=payment.amount)
        yield payment.at, pay
