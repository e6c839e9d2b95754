"""One account's events become realised rows: per owner, and for the account as the broker nets it.

Pure: events come in, in the order in which they happened, and rows go out. Each event books on two
sides: on the lots of whoever owns it (scope `bot`, with bot None for what nobody owns), and on the
account's own, where bots that trade one instrument net each other (scope `account`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Literal, NamedTuple

from recon.errors import IdentityError
from recon.exact import SCALE, to_units
from recon.lots import NOTHING, Book, Method, Realised, split

Scope = Literal["bot", "account"]
TOO_MUCH = SCALE * 10**15
"""An amount that no account moves, and from which sums would not fit any more."""


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

    def open_books(self, scope: Scope) -> list[tuple[str | None, Book]]:
        """Return the open books of a scope with their owners; of the account there is one owner."""
        return [
            (its_bot, book)
            for (its_scope, its_bot, _side), book in self.books.items()
            if its_scope == scope and book.qty
        ]


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
    amount, is_known = _in_account_currency(to_units(event.amount), event.rate)
    by_owner: dict[str | None, list[tuple[Book, int]]] = {}
    held = state.open_books("bot")
    for (bot, book), share in zip(held, shared(amount, held), strict=True):
        by_owner.setdefault(bot, []).append((book, share))
    own = state.open_books("account")
    whole = [(book, part) for (_, book), part in zip(own, shared(amount, own), strict=True)]
    for bot, shares in (by_owner or {event.bot: []}).items():
        part = sum(share for _, share in shares) if shares else amount
        yield _cash(event, "bot", bot, part, shares, is_known=is_known)
    yield _cash(event, "account", None, amount, whole, is_known=is_known)


def shared(amount: int, held: Sequence[tuple[str | None, Book]]) -> list[int]:
    """Return `amount` split over open books in proportion to what they hold, signed.

    A short receives what a long pays. Where longs and shorts come to nothing, by size alone.
    """
    weights = [book.qty for _, book in held]
    if not sum(weights):
        weights = [abs(weight) for weight in weights]
    return split(amount, weights) if weights else []


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
    # Costs are what they were in the account's currency when they were paid; PnL is worth what it
    # is when it is realised.
    fee, has_rate = _in_account_currency(fee, event.rate)
    sides: tuple[tuple[Scope, str | None], ...] = (("bot", event.bot), ("account", None))
    for scope, bot in sides:
        book = state.book(scope, bot, event.position_side)
        realised = book.fill(qty, value, fee)
        carried = fee - realised.fees - realised.funding
        gross, _ = _in_account_currency(realised.gross, event.rate)
        realised = realised._replace(gross=gross)
        yield _row(event, scope, bot, realised, carried, is_known=state.is_valued and has_rate)


def _cash(
    event: Event,
    scope: Scope,
    bot: str | None,
    amount: int,
    shares: Sequence[tuple[Book, int]],
    *,
    is_known: bool,
) -> Row:
    """Book a cash entry for one owner: funding is carried by its open books, the rest is not."""
    if event.kind == "funding":
        for book, share in shares:
            book.fund(share)
        counted = 0 if shares else amount
        realised, carried = NOTHING._replace(funding=counted), amount - counted
    elif event.kind == "fee":
        realised, carried = NOTHING._replace(fees=amount), 0
    else:
        realised, carried = NOTHING._replace(other=amount), 0
    return _row(event, scope, bot, realised, carried, is_known=is_known)


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
    money = (realised.gross, realised.fees, realised.funding, realised.other, carried)
    if not is_known or any(abs(amount or 0) >= TOO_MUCH for amount in money):
        money = (None,) * len(money)
    return Row(
        *(event.account, scope, bot, event.instrument, event.position_side, event.kind),
        *(event.event_id, event.at, event.session_date, realised.closed_qty, *money),
    )


def _in_account_currency(amount: int, rate: Decimal | None) -> tuple[int, bool]:
    """Return `amount` at `rate`, truncated to the unit, and whether there is a rate."""
    if rate is None or rate == 1:
        return amount, rate is not None
    value = abs(amount) * to_units(rate) // SCALE
    return (value if amount >= 0 else -value), True


def _open(key: tuple[str, str], state: _Instrument) -> Iterator[OpenLots]:
    for (scope, bot, side), book in state.books.items():
        if book.qty:
            is_known = state.is_valued and abs(book.cost) < TOO_MUCH
            yield OpenLots(
                *(key[0], scope, bot, key[1], side, state.is_inverse, state.multiplier),
                *(book.qty, book.cost, state.rate if is_known else None),
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
