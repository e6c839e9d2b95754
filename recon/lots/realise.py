"""One account's events become realised PnL: per owner, and for the account as the broker nets it.

Pure: events come in, in the order in which they happened, and what each session realised and how it
left the lots goes out. Each event books on two sides: on the lots of whoever owns it (scope `bot`,
with bot None for what nobody owns), and on the account's own, where bots that trade one instrument
net each other (scope `account`). Where the broker says what each fill realised, it books on a third
(scope `broker`): the account's position again, by the broker's own lot method and in the
instrument's own currency, so that the two can be compared to the last digit.

Instruments that hand lots to each other are one *family* and are run together, in the order in
which things happened: an option and the stock that its exercise delivers, a paper's old name and
its new one. What an exercised option had cost goes to what was delivered; renamed lots go on as
they were.

A run may begin anywhere: given how an earlier session left an instrument's books, it goes on from
there, and what it gives is what a run over everything would have given for the same sessions.
`recon/lots/compiled/` is the same for volume, equal to the last unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Literal, NamedTuple

from recon.core.numbers import SCALE, to_units
from recon.core.records import Method
from recon.errors import IdentityError
from recon.lots.book import NOTHING, Book, Lot, Realised, split

Scope = Literal["bot", "account", "broker"]
FILLS = ("fill", "exercise")
TOO_MUCH = SCALE * 10**15
"""An amount that no account moves, and from which sums would not fit any more."""


class Event(NamedTuple):
    """One thing that happened to an account's lots, in the columns of `affected.events`.

    `qty` is signed, bought +; `amount` is the fee of a fill, or a cash entry's amount, paid -.
    `kind` is `fill`, a kind of cash entry, or one of: `exercise`, a fill by which an option leaves
    at what it cost; `split`, which changes the position by `qty`; `move`, by which all of it,
    `qty`, goes on as `to_instrument`. `proceeds` is the unsigned value of a fill that isn't
    quantity times price. `exercise_id` names what an exercise and the fill that delivers it share.
    `is_unowned` marks a fill of which nobody can say whose it is.
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
    proceeds: Decimal | None = None
    to_instrument: str | None = None
    exercise_id: str | None = None
    family: str | None = None
    is_unowned: bool | None = None


class SessionPnl(NamedTuple):
    """What one owner realised on one instrument in one session; key: all before `fills`.

    Money in units of 10^-18 of the account's currency (scope `broker`: the instrument's), signed as
    cash; None where a part of it cannot be valued: unknown, and never 0. `closed_qty` is unsigned,
    in units of 10^-18. `closed_lots` counts the lots that each fill closed, wholly or in part, in
    scope `broker`; the other scopes do not count them: 0.
    """

    account: str
    instrument: str
    scope: Scope
    bot: str | None
    session_date: date
    fills: int
    closed_qty: int
    gross: int | None
    fees: int | None
    funding: int | None
    other: int | None
    open_costs: int | None
    closed_lots: int = 0


class ClosingBook(NamedTuple):
    """One book as a session that touched it left it; key: account, instrument, book, session_date.

    `book` counts an instrument's books in the order in which they were first traded. Quantity is
    signed, `cost` is the value at entry of what is open, both in units of 10^-18. What the last
    fill said of the instrument stands beside it; `is_valued` is False where the cost of what is
    open is not known, until the book has been flat once.
    """

    account: str
    instrument: str
    book: int
    scope: Scope
    bot: str | None
    position_side: str
    session_date: date
    qty: int
    cost: int
    funding: int
    first_lot: int
    is_inverse: bool
    multiplier: Decimal
    rate: Decimal | None
    is_valued: bool


class ClosingLot(NamedTuple):
    """One lot as a session that changed it left it; key: account, instrument, book, lot, session.

    `fee` is signed as cash, all else unsigned, in units of 10^-18. A lot that is used up is told
    once more, with 0 in all four.
    """

    account: str
    instrument: str
    book: int
    lot: int
    session_date: date
    qty: int
    value: int
    fee: int
    consumed: int


class Bystander(NamedTuple):
    """A bot that held a position when an unowned fill changed its instrument; key: all columns.

    What the fill closed may have been the bot's: nobody knows what the bot has realised.
    """

    account: str
    instrument: str
    bot: str
    session_date: date
    event_id: str


class Opening(NamedTuple):
    """How one instrument's books were left: each book's last state, in order, and its open lots."""

    books: Sequence[ClosingBook]
    lots: Sequence[ClosingLot]


Key = tuple[str, str]
"""Account and instrument."""


@dataclass(slots=True)
class _Held:
    """One book, and its lots before the session touched it, if it has."""

    scope: Scope
    bot: str | None
    side: str
    book: Book
    is_valued: bool = True
    before: dict[int, tuple[int, ...]] | None = None

    def touch(self) -> None:
        if self.before is None:
            self.before = self.lots()

    def lots(self) -> dict[int, tuple[int, ...]]:
        return {
            number: (lot.qty, lot.value, lot.fee, lot.consumed)
            for number, lot in enumerate(self.book.lots, self.book.first_lot)
        }


@dataclass(slots=True)
class _Instrument:
    """The books of one instrument of one account, by owner and by position side."""

    key: Key
    method: Method
    held: dict[tuple[Scope, str | None, str], _Held] = field(default_factory=dict)
    is_inverse: bool = False
    multiplier: Decimal = Decimal(1)
    rate: Decimal | None = None
    brokers: Method | None = None
    is_netted: bool = True

    def of(self, scope: Scope, bot: str | None, side: str) -> _Held:
        method = self.brokers if scope == "broker" and self.brokers else self.method
        new = _Held(scope, bot, side, Book(method, self.is_inverse))
        return self.held.setdefault((scope, bot, side), new)

    def sides(self, bot: str | None) -> list[tuple[Scope, str | None]]:
        """Return whose books a fill of `bot` is booked in."""
        sides: list[tuple[Scope, str | None]] = [("bot", bot)]
        if self.is_netted:
            sides.append(("account", None))
        return [*sides, ("broker", None)] if self.brokers else sides

    def open_books(self, scope: Scope) -> list[_Held]:
        """Return the open books of a scope; of the account there is one owner."""
        return [held for held in self.held.values() if held.scope == scope and held.book.qty]


@dataclass(slots=True)
class _Premium:
    """What exercised options had cost, waiting for what they deliver: `left`, in its quantity.

    `cash` is signed, received +, in the instrument's currency; `fee` is signed as cash.
    """

    cash: int = 0
    fee: int = 0
    left: int = 0
    is_known: bool = True

    def take(self, qty: int) -> tuple[int, int]:
        """Return the cash and the fee that go with `qty` of what is delivered."""
        if qty >= self.left:
            taken = self.cash, self.fee
        else:
            taken = tuple(split(part, [qty, self.left - qty])[0] for part in (self.cash, self.fee))  # type: ignore[assignment]
        self.cash, self.fee, self.left = self.cash - taken[0], self.fee - taken[1], self.left - qty
        return taken


@dataclass(slots=True)
class _Family:
    """The instruments of one account that hand lots to each other: most often one alone."""

    account: str
    method: Method
    brokers: Method | None
    opening: Mapping[Key, Opening]
    is_netted: bool = True
    states: dict[str, _Instrument] = field(default_factory=dict)
    premiums: dict[tuple[str, Scope], _Premium] = field(default_factory=dict)

    def of(self, instrument: str) -> _Instrument:
        if instrument not in self.states:
            key = self.account, instrument
            new = _Instrument(key, self.method, brokers=self.brokers, is_netted=self.is_netted)
            self.states[instrument] = _restored(new, self.opening.get(key))
        return self.states[instrument]


def realise(
    events: Iterable[Event],
    methods: Mapping[str, Method],
    opening: Mapping[Key, Opening] | None = None,
    brokers: Mapping[str, Method] | None = None,
) -> Iterator[SessionPnl | ClosingBook | ClosingLot | Bystander]:
    """Yield what each session realised, how it left the books it touched, and who is a bystander.

    `events` are ordered by account and family, then by session, then as they happened; `methods`
    gives each account's lot method; `opening` how the books of an instrument were left before its
    first event: nothing where they were never traded; `brokers` by which method an account's broker
    states what it realised, where it does. Raises ValueError for an unordered run.
    """
    for family, run in _families(events, methods, opening or {}, brokers or {}):
        for session_date, day in groupby(_ordered(run), lambda event: event.session_date):
            sums: dict[tuple[str, Scope, str | None], SessionPnl] = {}
            for event in day:
                yield from _bystanders(family, event)
                for row in _booked(family, event):
                    owner = row.instrument, row.scope, row.bot
                    sums[owner] = _added(sums[owner], row) if owner in sums else row
            yield from sums.values()
            for state in family.states.values():
                yield from _closing(state, session_date)
        _assert_no_netting_alone(family)


def realise_each(
    events: Iterable[Event], methods: Mapping[str, Method]
) -> Iterator[tuple[Event, SessionPnl]]:
    """Yield what each event realised for each of its owners, from the first one on.

    Ordered as for `realise`, whose sums by session these are: what a divergence is explained by.
    The account's own lots, in which owners net each other, are not run.
    """
    for family, run in _families(events, methods, {}, {}):
        family.is_netted = False
        for event in _ordered(run):
            for row in _booked(family, event):
                if row.scope == "bot":
                    yield event, row


def _families(
    events: Iterable[Event],
    methods: Mapping[str, Method],
    opening: Mapping[Key, Opening],
    brokers: Mapping[str, Method],
) -> Iterator[tuple[_Family, Iterator[Event]]]:
    """Yield each family that has events, as it was left before, and its events."""
    last: Key | None = None
    for key, run in groupby(
        events, lambda event: (event.account, event.family or event.instrument)
    ):
        if last is not None and key <= last:
            raise ValueError(f"events are out of order at {key}")
        last = key
        yield _Family(key[0], methods[key[0]], brokers.get(key[0]), opening), run


def _ordered(run: Iterable[Event]) -> Iterator[Event]:
    """Yield the events of a family; raise ValueError where one is out of order."""
    latest: tuple[date, datetime] | None = None
    for event in run:
        if latest is not None and (event.session_date, event.at) < latest:
            raise ValueError(f"events are out of order at {event.event_id}")
        latest = event.session_date, event.at
        yield event


def _restored(state: _Instrument, opening: Opening | None) -> _Instrument:
    if opening is None:
        return state
    lots: dict[int, list[Lot]] = {}
    for row in opening.lots:
        lots.setdefault(row.book, []).append(Lot(row.qty, row.value, row.fee, row.consumed))
    for book in opening.books:
        restored = state.of(book.scope, book.bot, book.position_side).book
        restored.is_inverse, restored.qty = book.is_inverse, book.qty
        restored.funding, restored.first_lot = book.funding, book.first_lot
        restored.lots.extend(lots.get(book.book, ()))
        state.of(book.scope, book.bot, book.position_side).is_valued = book.is_valued
    latest = max(opening.books, key=lambda book: book.session_date)
    state.is_inverse, state.multiplier = latest.is_inverse, latest.multiplier
    state.rate = latest.rate
    return state


def _added(before: SessionPnl, row: SessionPnl) -> SessionPnl:
    gross, fees, funding, other, open_costs = (
        None if a is None or b is None else a + b
        for a, b in zip(before[7:12], row[7:12], strict=True)
    )
    return SessionPnl(
        *before[:5],
        before.fills + row.fills,
        before.closed_qty + row.closed_qty,
        *(gross, fees, funding, other, open_costs),
        before.closed_lots + row.closed_lots,
    )


def _bystanders(family: _Family, event: Event) -> Iterator[Bystander]:
    if event.is_unowned:
        open_books = family.of(event.instrument).open_books("bot")
        for bot in sorted({held.bot for held in open_books if held.bot is not None}):
            yield Bystander(
                event.account, event.instrument, bot, event.session_date, event.event_id
            )


def _booked(family: _Family, event: Event) -> Iterator[SessionPnl]:
    state = family.of(event.instrument)
    if event.kind in ("fill", "opening"):
        yield from _fill(family, state, event)
    elif event.kind == "exercise":
        yield from _exercise(family, state, event)
    elif event.kind == "split":
        _split(state, event)
    elif event.kind == "move":
        _move(state, family.of(event.to_instrument or ""), event)
    else:
        yield from _entry(state, event)


def _entry(state: _Instrument, event: Event) -> Iterator[SessionPnl]:
    """Book a cash entry for those who hold the instrument, and for the account."""
    amount, is_known = _in_account_currency(to_units(event.amount), event.rate)
    by_owner: dict[str | None, list[tuple[_Held, int]]] = {}
    for held, share in shared(amount, state.open_books("bot")):
        by_owner.setdefault(held.bot, []).append((held, share))
    whole = shared(amount, state.open_books("account"))
    for bot, shares in (by_owner or {event.bot: []}).items():
        part = sum(share for _, share in shares) if shares else amount
        yield _cash(event, "bot", bot, part, shares, is_known=is_known)
    yield _cash(event, "account", None, amount, whole, is_known=is_known)


def shared(amount: int, held: Sequence[_Held]) -> list[tuple[_Held, int]]:
    """Return `amount` split over open books in proportion to what they hold, signed.

    A short receives what a long pays. Where longs and shorts come to nothing, by size alone.
    """
    weights = [one.book.qty for one in held]
    if not sum(weights):
        weights = [abs(weight) for weight in weights]
    return list(zip(held, split(amount, weights), strict=True)) if weights else []


def _fill(family: _Family, state: _Instrument, event: Event) -> Iterator[SessionPnl]:
    """Book a fill, or a lot that was open before the window began, whose price may be unknown."""
    fill = _read_fill(state, event)
    for scope, bot in state.sides(event.bot):
        # Costs are what they were in the account's currency when they were paid; PnL is worth what
        # it is when it is realised. The broker's own method knows no other currency.
        rate = Decimal(1) if scope == "broker" else event.rate
        # A fee in a third coin is given in the account's currency.
        is_converted = event.fee_in == "account"
        paid = fill.fee if is_converted else _in_account_currency(fill.fee, rate)[0]
        is_paid, worth, is_priced = fill.is_paid and rate is not None, fill.value, fill.is_priced
        if event.exercise_id is not None:
            premium = family.premiums.get((event.exercise_id, scope), _Premium(is_known=False))
            cash, open_costs = premium.take(abs(fill.qty))
            worth, paid = worth - cash if fill.qty > 0 else worth + cash, paid + open_costs
            is_priced &= premium.is_known
        held = state.of(scope, bot, event.position_side)
        held.touch()
        matches = held.book.matches
        realised = held.book.fill(fill.qty, worth, paid)
        open_costs = paid - realised.fees - realised.funding
        gross, _ = _in_account_currency(realised.gross, rate)
        is_known = is_paid and (not realised.closed_qty or (is_priced and held.is_valued))
        has_turned = bool(realised.closed_qty) and held.book.qty * fill.qty >= 0
        is_cost_known = is_paid and is_priced and (held.is_valued or has_turned)
        held.is_valued = is_cost_known or not held.book.qty
        realised = realised._replace(gross=gross)
        row = _row(event, scope, bot, realised, open_costs, is_known=is_known)
        closed_lots = held.book.matches - matches if scope == "broker" else 0
        yield row._replace(closed_lots=closed_lots)


class _Fill(NamedTuple):
    """What a fill says, in units of 10^-18: its signed quantity, its unsigned value, its fee.

    Value and fee are as it settles; `is_priced` and `is_paid` say whether they are known.
    """

    qty: int
    value: int
    fee: int
    is_priced: bool
    is_paid: bool


def _read_fill(state: _Instrument, event: Event) -> _Fill:
    has_value = event.price is not None or event.proceeds is not None
    if event.qty is None or event.multiplier is None or not (has_value or event.kind == "opening"):
        raise IdentityError(
            f"fill {event.event_id} was staged without quantity, price or multiplier"
        )
    state.is_inverse, state.multiplier = bool(event.is_inverse), event.multiplier
    state.rate = event.rate
    qty, fee = to_units(event.qty), to_units(event.amount)
    is_paid = event.fee_in != "unknown"
    if event.proceeds is not None:
        return _Fill(qty, to_units(event.proceeds), fee, is_priced=True, is_paid=is_paid)
    if event.fee_in == "base":
        # What the fee took was never ours: the position grows by what is left, at the same price.
        fee, is_paid = _value(state, fee, event.price)
        qty += to_units(event.amount)
    value, is_priced = _value(state, qty, event.price)
    return _Fill(qty, abs(value), fee, is_priced, is_paid)


def _exercise(family: _Family, state: _Instrument, event: Event) -> Iterator[SessionPnl]:
    """Let an option leave at what it cost; that, and its fees, wait for what it delivers.

    Of more than is held the cost is not known, and so neither is what is delivered worth.
    """
    fill = _read_fill(state, event)
    multiplier = to_units(event.multiplier or Decimal(0))
    for scope, bot in state.sides(event.bot):
        rate = Decimal(1) if scope == "broker" else event.rate
        paid, has_rate = _in_account_currency(fill.fee, rate)
        held = state.of(scope, bot, event.position_side)
        held.touch()
        size = min(abs(fill.qty), abs(held.book.qty)) if held.book.qty * fill.qty < 0 else 0
        is_known = held.is_valued and has_rate and size == abs(fill.qty)
        cost, open_costs = held.book.give(size)
        if size < abs(fill.qty):
            held.book.fill(fill.qty + size if fill.qty < 0 else fill.qty - size, 0, 0)
        held.is_valued = is_known or not held.book.qty
        premium = family.premiums.setdefault((event.exercise_id or "", scope), _Premium())
        premium.cash += cost if fill.qty > 0 else -cost
        premium.fee += open_costs + paid
        premium.left += abs(fill.qty) * multiplier // SCALE
        premium.is_known &= is_known
        yield _row(
            event, scope, bot, NOTHING._replace(closed_qty=size), -open_costs, is_known=is_known
        )


def _split(state: _Instrument, event: Event) -> None:
    """Change what every owner holds in proportion; where nothing is held, nothing is known."""
    change = to_units(event.qty or Decimal(0))
    for scope, bot in state.sides(event.bot):
        shares = shared(change, state.open_books(scope))
        for held, share in shares:
            held.touch()
            held.is_valued &= held.book.adjust(share)
        if not shares:
            held = state.of(scope, bot, event.position_side)
            held.touch()
            held.is_valued = False


def _move(old: _Instrument, new: _Instrument, event: Event) -> None:
    """Let every lot go on under another name; all of them, and where none are, or not at all."""
    moved = to_units(event.qty or Decimal(0))
    held = [one for one in old.held.values() if one.book.qty]
    is_whole = sum(one.book.qty for one in held if one.scope == "account") == -moved
    targets = [new.of(one.scope, one.bot, one.side) for one in held]
    if is_whole and not any(target.book.qty for target in targets):
        for one, target in zip(held, targets, strict=True):
            one.touch()
            target.touch()
            one.book.move(target.book)
            target.is_valued, one.is_valued = one.is_valued, True
        new.multiplier, new.rate = old.multiplier, old.rate
        return
    for state in (old, new):
        for scope, bot in state.sides(event.bot):
            books = [one for one in state.held.values() if one.scope == scope]
            for one in books or [state.of(scope, bot, event.position_side)]:
                one.touch()
                one.is_valued = False


def _cash(
    event: Event,
    scope: Scope,
    bot: str | None,
    amount: int,
    shares: Sequence[tuple[_Held, int]],
    *,
    is_known: bool,
) -> SessionPnl:
    """Book a cash entry for one owner: funding is carried by its open books, the rest is not."""
    if event.kind == "funding":
        for held, share in shares:
            held.touch()
            held.book.fund(share)
        counted = 0 if shares else amount
        realised, open_costs = NOTHING._replace(funding=counted), amount - counted
    elif event.kind == "fee":
        realised, open_costs = NOTHING._replace(fees=amount), 0
    else:
        realised, open_costs = NOTHING._replace(other=amount), 0
    return _row(event, scope, bot, realised, open_costs, is_known=is_known)


def _value(state: _Instrument, qty: int, price: Decimal | None) -> tuple[int, bool]:
    """Return the value of `qty` at `price`, signed as `qty`, and whether that is what it is.

    In units of 10^-18 of the settlement currency. Linear: qty · multiplier · price, truncated where
    that needs more than 18 decimal places, and then it is not what it is. Inverse: qty ·
    multiplier / price, truncated towards zero to the unit. At no price it is 0, and unknown.
    """
    if price is None:
        return 0, False
    multiplier = to_units(state.multiplier)
    if state.is_inverse:
        value, rest = abs(qty) * multiplier // to_units(price), 0
    else:
        value, rest = divmod(abs(qty) * multiplier * to_units(price), SCALE * SCALE)
    return (value if qty >= 0 else -value), not rest


def _row(
    event: Event,
    scope: Scope,
    bot: str | None,
    realised: Realised,
    open_costs: int,
    *,
    is_known: bool,
) -> SessionPnl:
    money: tuple[int | None, ...]
    money = (realised.gross, realised.fees, realised.funding, realised.other, open_costs)
    if not is_known or any(abs(amount or 0) >= TOO_MUCH for amount in money):
        money = (None,) * len(money)
    return SessionPnl(
        *(event.account, event.instrument, scope, bot, event.session_date),
        *(int(event.kind in FILLS), realised.closed_qty, *money),
    )


def _in_account_currency(amount: int, rate: Decimal | None) -> tuple[int, bool]:
    """Return `amount` at `rate`, truncated to the unit, and whether there is a rate."""
    if rate is None or rate == 1:
        return amount, rate is not None
    value = abs(amount) * to_units(rate) // SCALE
    return (value if amount >= 0 else -value), True


def _closing(state: _Instrument, session_date: date) -> Iterator[ClosingBook | ClosingLot]:
    """Yield the books that the session touched, and of their lots those that it changed."""
    for number, held in enumerate(state.held.values()):
        if held.before is None:
            continue
        before, after = held.before, held.lots()
        held.before, book = None, held.book
        yield ClosingBook(
            *(*state.key, number, held.scope, held.bot, held.side, session_date),
            *(book.qty, book.cost, book.funding, book.first_lot),
            *(state.is_inverse, state.multiplier, state.rate, held.is_valued),
        )
        for lot in sorted(before.keys() | after.keys()):
            left = after.get(lot, (0, 0, 0, 0))
            if left != before.get(lot):
                yield ClosingLot(*state.key, number, lot, session_date, *left)


def _assert_no_netting_alone(family: _Family) -> None:
    """Assert that under one bot a family the owner's lots are the account's own, to the unit."""
    owners = {
        held.bot
        for state in family.states.values()
        for held in state.held.values()
        if held.scope == "bot"
    }
    if len(owners) != 1:
        return
    [owner] = owners
    for state in family.states.values():
        for held in state.held.values():
            if held.scope != "account":
                continue
            own, book = state.held["bot", owner, held.side].book, held.book
            if (own.qty, own.cost, own.carried_fees) != (book.qty, book.cost, book.carried_fees):
                raise IdentityError(
                    f"{state.key}: one owner, and yet the account's lots differ from its"
                )
