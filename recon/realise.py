"""One account's events become realised rows: per owner, and for the account as the broker nets it.

Pure: events come in, in the order in which they happened, and rows go out. Each event books on two
sides: on the lots of whoever owns it (scope `bot`, with bot None for what nobody owns), and on the
account's own, where bots that trade one instrument net each other (scope `account`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Literal, NamedTuple

from recon.errors import IdentityError
from recon.exact import SCALE, to_units
from recon.lots import NOTHING, Book, Method, Realised, split

Scope = Literal["bot", "account"]


class Event(NamedTuple):
    """One thing that happened to an account's lots, in the columns of `lots.events`.

    `qty` is signed, bought +; `amount` is the fee of a fill, or a cash entry's amount, paid -.
    """

    account: str
    instrument: str
    kind: str
    event_id: str
    at: datetime
    session_date: date
    bot: str | None
    position_side: str
    qty: Decimal | None
    price: Decimal | None
    multiplier: Decimal | None
    is_inverse: bool | None
    amount: Decimal
    fee_in: str | None
    rate: Decimal | None


class Row(NamedTuple):
    """What one event realised for one owner, in units of 10^-18 of the account's currency.

    Money is None where it cannot be valued: unknown, and never 0.
    """

    account: str
    scope: Scope
    bot: str | None
    instrument: str
    position_side: str
    kind: str
    event_id: str
    at: datetime
    session_date: date
    closed_qty: int
    gross: int | None
    fees: int | None
    funding: int | None
    other: int | None
    carried: int | None


class OpenLots(NamedTuple):
    """What is open of one key at the window's end. Quantity signed; cost and fees as in `Book`."""

    account: str
    scope: Scope
    bot: str | None
    instrument: str
    position_side: str
    is_inverse: bool
    multiplier: Decimal
    qty: int
    cost: int
    rate: Decimal | None


@dataclass(slots=True)
class _Instrument:
    """The books of one instrument of one account, by owner and by position side."""

    method: Method
    books: dict[tuple[Scope, str | None, str], Book] = field(default_factory=dict)
    is_inverse: bool = False
    multiplier: Decimal = Decimal(1)
    rate: Decimal | None = None
    is_valued: bool = True

    def book(self, scope: Scope, bot: str | None, side: str) -> Book:
        return self.books.setdefault((scope, bot, side), Book(self.method, self.is_inverse))

    def holders(self) -> dict[str | None, int]:
        """Return the signed quantity that each owner holds, all sides together."""
        held: dict[str | None, int] = {}
        for (scope, bot, _side), book in self.books.items():
            if scope == "bot":
                held[bot] = held.get(bot, 0) + book.qty
        return {bot: qty for bot, qty in held.items() if qty}


def realise(events: Iterable[Event], methods: Mapping[str, Method]) -> Iterator[Row | OpenLots]:
    """Yield a row an event and owner, and what is open of each key when its events end.

    `events` are ordered by account and instrument, then as they happened; `methods` gives each
    account's lot method. Raises ValueError for an unordered run.
    """
    last: tuple[str, str] | None = None
    for key, run in groupby(events, lambda event: (event.account, event.instrument)):
        if last is not None and key <= last:
            raise ValueError(f"events are out of order at {key}")
        last = key
        state = _Instrument(methods[key[0]])
        latest: datetime | None = None
        for event in run:
            if latest is not None and event.at < latest:
                raise ValueError(f"events are out of order at {event.event_id}")
            latest = event.at
            yield from _booked(state, event)
        yield from _open(key, state)
        _assert_no_netting_alone(key, state)


def _booked(state: _Instrument, event: Event) -> Iterator[Row]:
    if event.kind == "fill":
        yield from _fill(state, event)
        return
    amount = to_units(event.amount)
    holders = state.holders()
    if holders and sum(holders.values()):
        shares = dict(zip(holders, split(amount, list(holders.values())), strict=True))
    else:
        shares = {event.bot: amount}
    for bot, share in shares.items():
        yield _cash(state, event, "bot", bot, share)
    yield _cash(state, event, "account", None, amount)


def _fill(state: _Instrument, event: Event) -> Iterator[Row]:
    if event.qty is None or event.price is None or event.multiplier is None:
        raise IdentityError(
            f"fill {event.event_id} was staged without quantity, price or multiplier"
        )
    state.is_inverse, state.multiplier = bool(event.is_inverse), event.multiplier
    state.rate = event.rate
    qty, fee = to_units(event.qty), to_units(event.amount)
    state.is_valued &= event.fee_in != "unknown"
    if event.fee_in == "base":
        # What the fee took was never ours: the position grows by what is left, at the same price.
        qty, fee = qty + fee, _value(state, fee, event.price)
    value = abs(_value(state, qty, event.price))
    sides: tuple[tuple[Scope, str | None], ...] = (("bot", event.bot), ("account", None))
    for scope, bot in sides:
        book = state.book(scope, bot, event.position_side)
        realised = book.fill(qty, value, fee)
        carried = fee - realised.fees - realised.funding
        yield _row(event, scope, bot, realised, carried, is_known=state.is_valued)


def _cash(state: _Instrument, event: Event, scope: Scope, bot: str | None, amount: int) -> Row:
    if event.kind == "funding":
        realised, carried = _fund(state, scope, bot, amount)
    elif event.kind == "fee":
        realised, carried = NOTHING._replace(fees=amount), 0
    else:
        realised, carried = NOTHING._replace(other=amount), 0
    return _row(event, scope, bot, realised, carried, is_known=True)


def _fund(state: _Instrument, scope: Scope, bot: str | None, amount: int) -> tuple[Realised, int]:
    """Carry funding on the owner's open sides in proportion; with none open it counts at once."""
    books = [
        book
        for (its_scope, its_bot, _), book in state.books.items()
        if (its_scope, its_bot) == (scope, bot) and book.qty
    ]
    if not books or not sum(book.qty for book in books):
        return NOTHING._replace(funding=amount), 0
    for book, share in zip(books, split(amount, [book.qty for book in books]), strict=True):
        book.fund(share)
    return NOTHING, amount


def _value(state: _Instrument, qty: int, price: Decimal) -> int:
    """Return the value of `qty` at `price`, in units of 10^-18 of the settlement currency.

    Linear: qty · multiplier · price; where that needs more than 18 decimal places the instrument
    is not valued any more. Inverse: qty · multiplier / price, truncated towards zero to the unit.
    """
    multiplier = to_units(state.multiplier)
    if state.is_inverse:
        value = abs(qty) * multiplier // to_units(price)
    else:
        value, rest = divmod(abs(qty) * multiplier * to_units(price), SCALE * SCALE)
        state.is_valued &= not rest
    return value if qty >= 0 else -value


def _row(
    event: Event, scope: Scope, bot: str | None, realised: Realised, carried: int, *, is_known: bool
) -> Row:
    money: tuple[int | None, ...]
    amounts = (realised.gross, realised.fees, realised.funding, realised.other, carried)
    if is_known and event.rate is not None:
        money = tuple(_converted(amount, event.rate) for amount in amounts)
    else:
        money = (None,) * len(amounts)
    return Row(
        event.account, scope, bot, event.instrument, event.position_side, event.kind,
        event.event_id, event.at, event.session_date, realised.closed_qty, *money,
    )  # fmt: skip


def _converted(amount: int, rate: Decimal) -> int:
    """Return `amount` in the account's currency, truncated towards zero to the unit."""
    if rate == 1:
        return amount
    value = abs(amount) * to_units(rate) // SCALE
    return value if amount >= 0 else -value


def _open(key: tuple[str, str], state: _Instrument) -> Iterator[OpenLots]:
    for (scope, bot, side), book in state.books.items():
        if book.qty:
            yield OpenLots(
                *(key[0], scope, bot, key[1], side, state.is_inverse, state.multiplier),
                *(book.qty, book.cost, state.rate if state.is_valued else None),
            )


def _assert_no_netting_alone(key: tuple[str, str], state: _Instrument) -> None:
    """Assert that under one bot a pair the owner's lots are the account's own, to the unit."""
    owners = {bot for scope, bot, _ in state.books if scope == "bot"}
    if len(owners) != 1:
        return
    [owner] = owners
    for (scope, _, side), book in state.books.items():
        if scope == "account":
            own = state.books["bot", owner, side]
            if (own.qty, own.cost, own.carried_fees) != (book.qty, book.cost, book.carried_fees):
                raise IdentityError(f"{key}: one owner, and yet the account's lots differ from its")
