"""basket, a stock bot at Interactive Brokers: what it bought and sold, and what its vault says.

Lots are closed first in, first out, the opening commission released in proportion. Its vault
subtracts every commission: it claims what is true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from recon.core.calendars import NEW_YORK, Calendar
from recon.demo.story.bot_databases import TradeRow

ORDER_TAG = "basket"
CORRECTED_ORDER = 3
"""The order whose fill IBKR booked at a wrong price, and corrected a session later."""

# Sessions before the last one, New York time, order, symbol, quantity (bought +), price.
SCRIPT = """
24 09:41:07  1 SPY   60 668.41
24 09:41:07  1 SPY   40 668.43
24 10:02:55  2 AAPL  80 268.20
23 09:35:12  3 MSFT  50 512.03
22 10:20:31  4 QQQ   50 606.15
22 10:20:33  4 QQQ   50 606.20
20 11:15:48  5 AAPL -50 271.85
19 09:52:19  6 XOM  200 114.62
18 12:31:02  7 SPY  -60 671.90
18 12:31:02  7 SPY  -20 671.88
16 10:44:40  8 MSFT -25 508.75
15 09:38:26  9 AAPL  40 270.10
13 11:07:53 10 QQQ  -50 611.40
12 10:09:14 11 XOM -100 113.95
11 12:02:37 12 SPY   80 665.20
9  09:47:21 13 AAPL -60 273.66
8  11:55:09 14 MSFT -25 515.20
6  10:33:44 15 QQQ  -25 613.05
6  10:33:44 15 QQQ  -25 613.07
5  09:59:30 16 XOM   50 112.80
3  12:18:16 17 SPY  -50 672.15
1  10:50:05 18 XOM -100 116.25
0  09:44:58 19 SPY  -25 674.02
0  11:21:35 20 AAPL  20 272.40
"""


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution. `qty` is signed, bought +; `commission` is signed as cash."""

    number: int
    at: datetime
    order: int
    symbol: str
    qty: Decimal
    price: Decimal

    @property
    def proceeds(self) -> Decimal:
        """The cash that it moved before commission."""
        return -self.qty * self.price

    @property
    def commission(self) -> Decimal:
        """What IBKR charged: a fixed part, and one a share."""
        return -(Decimal("0.35") + Decimal("0.0041") * abs(self.qty))

    @property
    def trade_date(self) -> date:
        """The session it was done in."""
        return self.at.astimezone(NEW_YORK).date()


@dataclass(slots=True)
class Lot:
    """What is left of one purchase; `basis` is its cost, the commission included."""

    opened_at: datetime
    qty: Decimal
    price: Decimal
    basis: Decimal


@dataclass(slots=True)
class Booked:
    """One execution as booked: what it closed, and what that earned after every commission."""

    execution: Execution
    cost: Decimal
    realised: Decimal
    closed: list[Lot] = field(default_factory=list)

    @property
    def gross(self) -> Decimal:
        """What it earned before commissions: 0 where it opened."""
        cost = sum((lot.qty * lot.price for lot in self.closed), Decimal(0))
        return self.execution.proceeds - cost if self.closed else Decimal(0)


@dataclass(slots=True)
class Basket:
    """The basket's history: what was booked, and the lots still open, by symbol."""

    days: Calendar
    first: date
    last: date
    booked: list[Booked] = field(default_factory=list)
    lots: dict[str, list[Lot]] = field(default_factory=dict)

    @property
    def realised(self) -> Decimal:
        """What the bot earned after commissions."""
        return sum((row.realised for row in self.booked), Decimal(0))

    @property
    def gross(self) -> Decimal:
        """What it earned before them."""
        return sum((row.gross for row in self.booked), Decimal(0))

    def vault_rows(self) -> list[TradeRow]:
        """Return what the bot wrote to its own vault: one row a close, commissions subtracted."""
        return [_vault_row(row) for row in self.booked if row.closed]


def basket(days: Calendar, since: date, as_of: date) -> Basket:
    """Play the script so that it ends with the last session on or before `as_of`."""
    last = days.session(as_of).date
    history = Basket(days, days.session_on_or_after(since).date, last)
    for execution in _executions(days, last):
        history.booked.append(book(history.lots.setdefault(execution.symbol, []), execution))
    return history


def _executions(days: Calendar, last: date) -> Iterator[Execution]:
    for number, line in enumerate(SCRIPT.split("\n")[1:-1], 1):
        back, clock, order, symbol, qty, price = line.split()
        day = last
        for _ in range(int(back)):
            day = days.session(day - timedelta(days=1)).date
        at = datetime.combine(day, time.fromisoformat(clock), NEW_YORK)
        yield Execution(number, at, int(order), symbol, Decimal(qty), Decimal(price))


def book(lots: list[Lot], execution: Execution) -> Booked:
    """Book one execution on `lots`, which it changes."""
    cash = execution.proceeds + execution.commission
    if execution.qty > 0:
        lots.append(Lot(execution.at, execution.qty, execution.price, -cash))
        return Booked(execution, cost=-cash, realised=Decimal(0))
    left, closed = -execution.qty, []
    while left:
        lot = lots[0]
        taken = min(left, lot.qty)
        part = Lot(lot.opened_at, taken, lot.price, lot.basis * taken / lot.qty)
        lot.qty, lot.basis, left = lot.qty - taken, lot.basis - part.basis, left - taken
        closed.append(part)
        if not lot.qty:
            lots.pop(0)
    cost = -sum((part.basis for part in closed), Decimal(0))
    return Booked(execution, cost=cost, realised=cash + cost, closed=closed)


def _vault_row(row: Booked) -> TradeRow:
    qty = sum((lot.qty for lot in row.closed), Decimal(0))
    return TradeRow(
        symbol=row.execution.symbol,
        side="long",
        size=qty,
        opened_at=row.closed[0].opened_at,
        closed_at=row.execution.at,
        entry_price=sum((lot.qty * lot.price for lot in row.closed), Decimal(0)) / qty,
        exit_price=row.execution.price,
        pnl=row.realised,
        order_ids=(order_id(row.execution.order),),
    )


def order_id(order: int) -> str:
    """Return IBKR's number of an order of the script."""
    return str(800_000_000 + order)
