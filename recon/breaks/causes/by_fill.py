"""Why a row that stands for one fill is not what that fill realised, where each fill is a row.

Pure. Such books compute what a fill closed from all fills before it, so one wrong fill makes later
rows wrong. Either each row's own fill explains its gross, or the books' fills are put right one
thing at a time, and the lots are run again after each: what changes is that thing's cause.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from recon.breaks.causes.decomposition import FEE_LIKE, NOISE, Step, closed_by_noise, is_same
from recon.breaks.causes.fill_matching import Entry, FillKey, is_same_qty
from recon.breaks.causes.ownership import effective
from recon.core.numbers import SCALE
from recon.core.records import Cause, Method
from recon.lots.book import Book
from recon.lots.realise import Event, SessionPnl

Named = tuple[Cause, Fraction, str]
"""One thing that is wrong: its cause, its part of the divergence, and what it is in words."""


_GONE: tuple[Cause, ...] = (
    "duplicate",
    "phantom",
    "unexplained",
    "adopted",
    "unowned",
    "timing",
)
"""What a row may be that has no fill of its own, in the order in which such rows are left out."""


class Realised(NamedTuple):
    """One fill of the bot's own, and what it realised by the bot's lots."""

    event: Event
    row: SessionPnl


@dataclass(slots=True)
class FillRow:
    """One row, the broker's fills that it is of, and why it has none.

    `own` are fills of this bot; `without` is what a row without such a fill is, and in words why.
    """

    entry: Entry
    booked: Mapping[str, Any]
    own: Sequence[Realised] = ()
    without: tuple[Cause, str] = ("phantom", "")
    is_before: bool = False
    """It closed before the window: the broker's evidence does not reach it."""

    @property
    def name(self) -> str:
        """The row's id."""
        return self.entry.trade_id

    @property
    def pnl(self) -> Fraction:
        """What the row shows."""
        return Fraction(self.booked["pnl"])

    def column(self, name: str) -> Fraction | None:
        """Return an amount of the row; None where the books lack it."""
        value = self.booked[name]
        return None if value is None else Fraction(value)


@dataclass(slots=True)
class Ledger:
    """All rows and fills of one instrument of a bot, in the order in which they happened.

    `unrecorded` gives, for each fill without a row, the step that names it.
    """

    rows: list[FillRow]
    fills: list[Realised]
    unrecorded: dict[FillKey, Step]
    method: Method
    is_by_payment: bool
    corrected: dict[FillKey, Mapping[str, Any]] = field(default_factory=dict)


class _Parts(NamedTuple):
    """What a row's PnL is made of. `gross` is None where nothing says."""

    gross: Fraction | None
    fee: Fraction
    funding: Fraction
    rest: Fraction
    is_pending: bool = False


class _Line(NamedTuple):
    """A fill as the lots are fed it, in units: signed contracts, and their unsigned value."""

    name: str | FillKey
    side: str
    qty: int
    value: int


def measure(row: SessionPnl, *, is_by_payment: bool) -> int:
    """Return what a fill counts for: what it realised, and where costs count as paid, its own."""
    money = (row.gross, row.fees, row.funding, row.other, row.open_costs if is_by_payment else 0)
    return sum(one or 0 for one in money)


def explain_rows(ledger: Ledger) -> Iterator[tuple[FillRow, list[Step]]]:
    """Yield each row with the causes of its PnL less what its own fills count for, to the unit."""
    gross = _gross_causes(ledger)
    for row in ledger.rows:
        base = sum(measure(one.row, is_by_payment=ledger.is_by_payment) for one in row.own)
        found = [*gross.get(row.name, ())]
        if row.own:
            found += _costs(row, ledger)
            found = _as_corrections(row, found, ledger)
        else:
            said = sum((amount for _, amount, _ in found), Fraction(0))
            cause, says = row.without
            found.append((cause, row.pnl - said, says))
        yield row, closed_by_noise(found, int(row.pnl * SCALE) - base, row.pnl)


def _paid(row: FillRow) -> Fraction:
    """Return the fee of a row's own fills, as it was paid."""
    money = ((one.row.fees, one.row.funding, one.row.open_costs) for one in row.own)
    return Fraction(sum(part or 0 for parts in money for part in parts), SCALE)


def _realised(row: FillRow) -> Fraction:
    return Fraction(sum(one.row.gross or 0 for one in row.own), SCALE)


def _parts(row: FillRow) -> _Parts:
    """Take a row's PnL apart: by as many of its own columns as fit."""
    pnl, gross, fee = row.pnl, row.column("gross"), row.column("fee")
    funding = row.column("funding") or Fraction(0)
    paid = _paid(row)
    if gross is None:
        return _without_gross(row, paid, fee, funding)
    if fee is None:
        guess = pnl - gross - funding
        is_fee = is_same(guess, Fraction(0)) or (
            paid != 0 and FEE_LIKE[0] <= abs(guess / paid) <= FEE_LIKE[1]
        )
        return (
            _Parts(gross, guess, funding, Fraction(0))
            if is_fee
            else _Parts(gross, Fraction(0), funding, guess)
        )
    for one_fee in (fee, Fraction(0)):
        for one_funding in (funding, Fraction(0)):
            if is_same(pnl, gross + one_fee + one_funding):
                return _Parts(gross, one_fee, one_funding, Fraction(0))
    return _Parts(gross, fee, funding, pnl - gross - fee - funding)


def _without_gross(row: FillRow, paid: Fraction, fee: Fraction | None, funding: Fraction) -> _Parts:
    realised, nothing = _realised(row), Fraction(0)
    own = paid if fee is None else fee
    if realised and is_same(row.pnl, own + funding):
        return _Parts(nothing, own, funding, nothing, is_pending=True)
    if fee is not None:
        return _Parts(row.pnl - fee - funding, fee, funding, nothing)
    for one in (paid, nothing):
        if is_same(row.pnl, realised + one + funding):
            return _Parts(realised, one, funding, nothing)
    return _Parts(None, paid, funding, row.pnl - realised - paid - funding)


def _costs(row: FillRow, ledger: Ledger) -> Iterator[Named]:
    """Yield what is wrong with a row's fee, its funding, and the sum of its own columns."""
    parts, paid = _parts(row), _paid(row)
    yield _fee_cause(row, parts.fee), parts.fee - paid, _fee_says(parts.fee, paid)
    if parts.rest:
        cause: Cause = "unexplained" if parts.gross is None else "arithmetic"
        yield cause, parts.rest, "its pnl is not what its own columns add up to"
    fees = Fraction(sum(one.row.fees or 0 for one in row.own), SCALE)
    funding = Fraction(sum(one.row.funding or 0 for one in row.own), SCALE)
    if not ledger.is_by_payment:
        says = "it books a cost when it pays it, and that counts when what it paid for is closed"
        yield "timing", paid - fees, says
        if any(one.column("funding") for one in ledger.rows):
            yield "funding_misplaced", -funding, "it booked other funding than was paid"
        else:
            yield "funding_missing", -funding, "it never booked the funding"
    if parts.funding:
        yield "funding_misplaced", parts.funding, "it booked funding with a fill"


def _fee_cause(row: FillRow, booked: Fraction) -> Cause:
    if not booked:
        return "fee_missing"
    is_other = any(one.event.amount and one.event.fee_in == "account" for one in row.own)
    return "fee_currency_value" if is_other else "fee_rate_guessed"


def _fee_says(booked: Fraction, paid: Fraction) -> str:
    if not booked:
        return f"it never subtracted the fee of {_text(-paid)}"
    if is_same(booked, -paid):
        return f"it booked the fee of {_text(-paid)} with the wrong sign"
    return f"it booked a fee of {_text(-booked)}, and {_text(-paid)} was paid"


def _as_corrections(row: FillRow, found: list[Named], ledger: Ledger) -> list[Named]:
    """Name the broker's restatement as the cause where a row has the figures before it."""
    told = [ledger.corrected.get((one.event.instrument, one.event.event_id)) for one in row.own]
    firsts = [one for one in told if one is not None]
    if not firsts:
        return found
    entry, fee = row.entry, row.column("fee")
    for one in firsts if len(row.own) == 1 else ():
        if one["price"] is not None and not (
            (entry.price is None or is_same(entry.price, Fraction(one["price"])))
            and (fee is None or one["amount"] is None or is_same(fee, Fraction(one["amount"])))
        ):
            return found
    says = "the broker restated its fill after it had been told"
    return [
        ("correction", amount, f"{says}: {what}")
        if cause in ("price", "quantity", "fee_rate_guessed", "fee_missing")
        else (cause, amount, what)
        for cause, amount, what in found
    ]


def _gross_causes(ledger: Ledger) -> dict[str, list[Named]]:
    """Return what is wrong with the gross of each row."""
    mine = [row for row in ledger.rows if row.own]
    if any(one.event.rate != 1 for row in mine for one in row.own):
        says = "it counts another currency as if it were the account's"
        return {
            row.name: [("currency", gross - _realised(row), says)]
            for row in mine
            if (gross := _parts(row).gross) is not None
        }
    local = {row.name: list(_local(row)) for row in mine}
    left = {row.name: _left(row, local[row.name]) for row in mine}
    if all(_is_noise(left[row.name], row) for row in mine):
        return local
    again = _by_lots(ledger)
    if again is not None:
        return again
    says = "its gross is not what the account's lots realised with its fill"
    return {name: [*found, ("lot_method", left[name], says)] for name, found in local.items()}


def _left(row: FillRow, found: Iterable[Named]) -> Fraction:
    """Return what is left of a row's gross once what is known to be wrong is put right."""
    gross = _parts(row).gross
    if gross is None:
        return Fraction(0)
    return gross - _realised(row) - sum((amount for _, amount, _ in found), Fraction(0))


def _is_noise(amount: Fraction, row: FillRow) -> bool:
    return abs(amount) <= NOISE * max(Fraction(1), abs(row.pnl), abs(_realised(row)))


def _local(row: FillRow) -> Iterator[Named]:
    """Yield what of a row's gross its own fill explains: its quantity and the price of its exit."""
    parts = _parts(row)
    gross, realised = parts.gross, _realised(row)
    if gross is None:
        return
    if parts.is_pending:
        yield "timing", -realised, "it shows no profit of this fill yet"
        return
    qty, filled = row.entry.qty, _nominal(row)
    multiplier = Fraction(row.own[0].event.multiplier or 1)
    if qty and gross and not is_same_qty(qty, filled, multiplier):
        units = min((filled, filled * multiplier), key=lambda one: abs(one - qty))
        off = gross * (1 - units / qty)
        gross -= off
        yield "quantity", off, _quantity_says(qty, units)
    closed = Fraction(sum(one.row.closed_qty for one in row.own), SCALE)
    booked, mean = row.column("exit_price"), _mean_price(row)
    if booked and closed and not is_same(booked, mean):
        faces = closed * multiplier * -row.entry.sign
        is_inverse = bool(row.own[0].event.is_inverse)
        off = faces * (1 / booked - 1 / mean) * -1 if is_inverse else faces * (booked - mean)
        if _is_noise(gross - off - realised, row):
            yield "price", off, _price_says(booked, mean)


def _by_lots(ledger: Ledger) -> dict[str, list[Named]] | None:
    """Put the books' fills right one thing at a time, and run the lots again after each.

    Return None where the books' gross is not what lots of their own fills give.
    """
    rows = ledger.rows
    if any(row.entry.qty is None or row.entry.price is None or not row.entry.sign for row in rows):
        return None
    events = [one.event for one in ledger.fills if one.event.kind == "fill"]
    if not events or any(one.price is None for one in events):
        return None
    multiplier = Fraction(events[0].multiplier or 1)
    is_in_contracts = _is_in_contracts(rows, multiplier)
    run = _Lots(ledger, multiplier, bool(events[0].is_inverse), is_in_contracts)
    if not run.finds_the_books():
        return None
    run.put_right()
    return run.found


@dataclass(slots=True)
class _Lots:
    """The books' fills of one instrument, put right step by step."""

    ledger: Ledger
    multiplier: Fraction
    is_inverse: bool
    is_in_contracts: bool
    found: dict[str, list[Named]] = field(default_factory=lambda: defaultdict(list))
    gross: dict[str, int] = field(default_factory=dict)
    method: Method = "average"
    has_sides: bool = False

    def finds_the_books(self) -> bool:
        """Find the lots by which the books work out their gross; say whether there are any."""
        lines = self._lines(self.ledger.rows, lambda row: (row.entry.qty, row.entry.price))
        tries: list[tuple[Method, bool, Fraction]] = [
            (method, has_sides, face)
            for face in dict.fromkeys((Fraction(1), 1 / self.multiplier))
            for method in dict.fromkeys((self.ledger.method, "average", "fifo"))
            for has_sides in (False, True)
        ]
        for method, has_sides, face in tries:
            self.method, self.has_sides = method, has_sides
            gross = self._run(self._sided(lines))
            if all(self._is_booked(row, gross[row.name] * face) for row in self.ledger.rows):
                if face != 1:
                    says = f"it took one contract for 1, and it is {_text(self.multiplier)}"
                    for row in self.ledger.rows:
                        self._note(
                            row, "multiplier", gross[row.name] * face - gross[row.name], says
                        )
                self.gross = gross
                return True
        return False

    def _is_booked(self, row: FillRow, units: Fraction) -> bool:
        gross, value = row.column("gross"), units / SCALE
        if gross is None or row.is_before:
            return True
        return abs(gross - value) <= NOISE * max(Fraction(1), abs(gross), abs(row.pnl))

    def put_right(self) -> None:
        """Note what each thing changes of each row's gross, in this order."""
        kept = list(self.ledger.rows)
        for cause in _GONE:
            gone = {row.name for row in kept if self._is_gone(row) and row.without[0] == cause}
            if gone:
                kept = [row for row in kept if row.name not in gone]
                lines = self._lines(kept, lambda row: (row.entry.qty, row.entry.price))
                self._step(cause, "an earlier row is not a fill of its own", lines, kept)
        lines = self._lines(kept, lambda row: (row.entry.qty, row.entry.price), is_turned=True)
        self._step("side", "it booked the other side", lines, kept)
        kept = [row for row in kept if not self._is_gone(row)]
        lines = self._lines(
            kept, lambda row: (self._true_qty(row), row.entry.price), is_turned=True
        )
        self._step("quantity", "", lines, kept)
        lines = self._lines(
            kept, lambda row: (self._true_qty(row), self._true_price(row)), is_turned=True
        )
        self._step("price", "", lines, kept)
        self._as_the_broker_has_it(kept)

    def _is_gone(self, row: FillRow) -> bool:
        return not row.own and not row.is_before

    def _as_the_broker_has_it(self, rows: Sequence[FillRow]) -> None:
        """Go on from the rows to the broker's own fills, those that no row has among them."""
        self.has_sides = True
        kept = [row for row in rows if row.own]
        opening = [one.event for one in self.ledger.fills if one.event.kind == "opening"]
        lines = [self._event_line(one) for one in opening]
        if opening or len(kept) < len(rows):
            says = "what it held before the window is not what the account held"
            self._compare("lot_method", says, self._run([*lines, *self._true_lines(kept)]), kept)
        known: set[FillKey] = set()
        for cause in dict.fromkeys(one.cause for one in self.ledger.unrecorded.values()):
            known |= {key for key, one in self.ledger.unrecorded.items() if one.cause == cause}
            says = "an earlier fill is in no row of the books"
            self._compare(cause, says, self._run(self._merged(lines, kept, known)), kept)
        whole = [one.event for one in self.ledger.fills]
        if any(len(row.own) > 1 for row in kept):
            says = "it books several fills of an order as one, at their mean price"
            self._broker_step("price", says, whole, kept, is_nominal=True)
        else:
            says = "its fills stand in another order"
            self._broker_step("timing", says, whole, kept, is_nominal=True)
        says = "a fee was taken out of the coin, and the position grew by less"
        self._broker_step("quantity", says, whole, kept)
        says = "the account's lots are matched another way"
        for row in kept:
            units = Fraction(self.gross[row.name]) - _realised(row) * SCALE
            self._note(row, "lot_method", units, says)

    def _true_lines(self, kept: Sequence[FillRow]) -> list[_Line]:
        """Return the rows with the broker's quantity, price and side."""
        lines = self._lines(
            kept, lambda row: (self._true_qty(row), self._true_price(row)), is_turned=True
        )
        sides = {row.name: row.own[0].event.position_side for row in kept}
        return [one._replace(side=sides[str(one.name)]) for one in lines]

    def _merged(
        self, opening: Sequence[_Line], kept: Sequence[FillRow], known: Collection[FillKey]
    ) -> list[_Line]:
        """Return the rows and some fills that no row has, in the order in which they happened."""
        at = {row.name: row.own[0].event.at for row in kept}
        lines = [(at[str(one.name)], one) for one in self._true_lines(kept)]
        lines += [
            (one.event.at, self._event_line(one.event))
            for one in self.ledger.fills
            if _key(one.event) in known
        ]
        return [*opening, *(line for _, line in sorted(lines, key=lambda one: one[0]))]

    def _event_line(self, event: Event, *, is_nominal: bool = True) -> _Line:
        qty = Fraction(event.qty or 0) if is_nominal else Fraction(effective(event), SCALE)
        return self._line(_key(event), event.position_side, qty, Fraction(event.price or 0))

    def _broker_step(
        self,
        cause: Cause,
        says: str,
        events: Sequence[Event],
        kept: Sequence[FillRow],
        *,
        is_nominal: bool = False,
    ) -> None:
        gross = self._run(self._event_line(one, is_nominal=is_nominal) for one in events)
        by_row = {row.name: sum(gross[_key(one.event)] for one in row.own) for row in kept}
        self._compare(cause, says, by_row, kept)

    def _step(
        self, cause: Cause, says: str, lines: Sequence[_Line], kept: Sequence[FillRow]
    ) -> None:
        self._compare(cause, says, self._run(self._sided(lines)), kept)

    def _compare(
        self, cause: Cause, says: str, gross: Mapping[Any, int], kept: Sequence[FillRow]
    ) -> None:
        for row in kept:
            if row.name in gross:
                moved = Fraction(self.gross[row.name] - gross[row.name])
                self._note(row, cause, moved, says or self._says(cause, row))
        self.gross = {**self.gross, **{row.name: gross.get(row.name, 0) for row in kept}}

    def _note(self, row: FillRow, cause: Cause, units: Fraction, says: str) -> None:
        if units:
            self.found[row.name].append((cause, units / SCALE, says))

    def _says(self, cause: Cause, row: FillRow) -> str:
        entry = row.entry
        qty, price = self._true_qty(row), self._true_price(row)
        if cause == "quantity" and entry.qty is not None and not is_same(entry.qty, qty):
            return _quantity_says(entry.qty, qty)
        if cause == "price" and entry.price is not None and not is_same(entry.price, price):
            return _price_says(entry.price, price)
        return f"an earlier fill's {cause} is wrong, and so is what this one closed"

    def _true_qty(self, row: FillRow) -> Fraction:
        """Return what was filled, in what the books count in."""
        if not row.own:
            return row.entry.qty or Fraction(0)
        filled = _nominal(row)
        return filled if self.is_in_contracts else filled * self.multiplier

    def _true_price(self, row: FillRow) -> Fraction:
        return _mean_price(row) if row.own else row.entry.price or Fraction(0)

    def _lines(
        self,
        rows: Sequence[FillRow],
        terms: Callable[[FillRow], tuple[Fraction | None, Fraction | None]],
        *,
        is_turned: bool = False,
    ) -> list[_Line]:
        face = Fraction(1) if self.is_in_contracts else 1 / self.multiplier
        lines = []
        for row in rows:
            qty, price = terms(row)
            sign = row.entry.sign
            if is_turned and row.own:
                sign = 1 if (row.own[0].event.qty or 0) > 0 else -1
            signed = (qty or Fraction(0)) * face * sign
            side = row.entry.side or "net"
            lines.append(self._line(row.name, side, signed, price or Fraction(0)))
        return lines

    def _line(self, name: str | FillKey, side: str, contracts: Fraction, price: Fraction) -> _Line:
        size = abs(contracts) * self.multiplier
        value = Fraction(0)
        if price:
            value = size / price if self.is_inverse else size * price
        return _Line(name, side, round(contracts * SCALE), int(value * SCALE))

    def _sided(self, lines: Sequence[_Line]) -> Sequence[_Line]:
        return lines if self.has_sides else [one._replace(side="net") for one in lines]

    def _run(self, lines: Iterable[_Line]) -> dict[Any, int]:
        """Return what each fill realised, in units, by lots of its side."""
        books: dict[str, Book] = {}
        gross: dict[Any, int] = defaultdict(int)
        for one in (line for line in lines if line.qty):
            book = books.setdefault(one.side, Book(self.method, self.is_inverse))
            gross[one.name] = book.fill(one.qty, one.value, 0).gross
        return gross


def _is_in_contracts(rows: Sequence[FillRow], multiplier: Fraction) -> bool:
    """Return whether the books count contracts, and not coins: whichever is nearer."""
    mine = [(row.entry.qty or Fraction(0), _nominal(row)) for row in rows if row.own]
    contracts = sum(abs(qty - filled) for qty, filled in mine)
    return contracts <= sum(abs(qty - filled * multiplier) for qty, filled in mine)


def _key(event: Event) -> FillKey:
    return event.instrument, event.event_id


def _nominal(row: FillRow) -> Fraction:
    """Return what the broker filled of a row, in contracts, unsigned."""
    return abs(sum((Fraction(one.event.qty or 0) for one in row.own), Fraction(0)))


def _mean_price(row: FillRow) -> Fraction:
    """Return the price at which a row's fills together are worth what they are worth."""
    parts = [(abs(Fraction(one.event.qty or 0)), Fraction(one.event.price or 0)) for one in row.own]
    qty = sum((size for size, _ in parts), Fraction(0))
    if row.own[0].event.is_inverse:
        return qty / sum((size / price for size, price in parts), Fraction(0))
    return sum((size * price for size, price in parts), Fraction(0)) / qty


def _quantity_says(booked: Fraction, filled: Fraction) -> str:
    return f"it booked {_text(booked)}, and the broker filled {_text(filled)}"


def _price_says(booked: Fraction, mean: Fraction) -> str:
    return f"its price is {_text(booked)}, the broker's {_text(mean)}"


def _text(value: Fraction) -> str:
    return f"{float(value):.8g}"
