"""Explain the difference between a row and its fill, if a bot has one row for each fill. Pure.

Such a bot computes the gross of a fill from all fills before it, so one wrong fill makes later rows
wrong. Either each row's own fill explains its gross, or the bot's fills are corrected one property
at a time. The lots are computed again after each correction, and the change is the amount of that
property's cause.
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
"""One error of a row: its cause, its part of the divergence, and an explanation."""


_GONE: tuple[Cause, ...] = (
    "duplicate",
    "phantom",
    "unexplained",
    "adopted",
    "unowned",
    "timing",
)
"""The causes of rows without a fill of their own, in the order in which the rows are removed."""


class Realised(NamedTuple):
    """One of the bot's own fills, and its PnL by the bot's lots."""

    event: Event
    row: SessionPnl


@dataclass(slots=True)
class FillRow:
    """One row and its fills at the broker.

    `own` has the row's fills that this bot owns. `without` is the cause of a row without such a
    fill, with an explanation.
    """

    entry: Entry
    booked: Mapping[str, Any]
    own: Sequence[Realised] = ()
    without: tuple[Cause, str] = ("phantom", "")
    is_before: bool = False
    """Whether the row closed before the window, where there is no evidence."""

    @property
    def name(self) -> str:
        """The row's id."""
        return self.entry.trade_id

    @property
    def pnl(self) -> Fraction:
        """The PnL in the row."""
        return Fraction(self.booked["pnl"])

    def column(self, name: str) -> Fraction | None:
        """Return an amount of the row; None if the bot database has no value."""
        value = self.booked[name]
        return None if value is None else Fraction(value)


@dataclass(slots=True)
class InstrumentHistory:
    """All rows and fills of a bot in one instrument, in order of time.

    `unrecorded` has the step of each fill without a row.
    """

    rows: list[FillRow]
    fills: list[Realised]
    unrecorded: dict[FillKey, Step]
    method: Method
    is_by_payment: bool
    corrected: dict[FillKey, Mapping[str, Any]] = field(default_factory=dict)


class _Parts(NamedTuple):
    """The parts of a row's PnL. `gross` is None if unknown."""

    gross: Fraction | None
    fee: Fraction
    funding: Fraction
    rest: Fraction
    is_pending: bool = False


class _Line(NamedTuple):
    """A fill as the lots take it, in units: signed contracts and their unsigned value."""

    name: str | FillKey
    side: str
    qty: int
    value: int


def measure(row: SessionPnl, *, is_by_payment: bool) -> int:
    """Return the PnL of a fill. If costs are booked when paid, it includes open costs."""
    money = (row.gross, row.fees, row.funding, row.other, row.open_costs if is_by_payment else 0)
    return sum(one or 0 for one in money)


def explain_rows(history: InstrumentHistory) -> Iterator[tuple[FillRow, list[Step]]]:
    """Yield each row with the causes of its PnL less the PnL of its own fills, to the unit."""
    gross = _gross_causes(history)
    for row in history.rows:
        base = sum(measure(one.row, is_by_payment=history.is_by_payment) for one in row.own)
        found = [*gross.get(row.name, ())]
        if row.own:
            found += _costs(row, history)
            found = _as_corrections(row, found, history)
        else:
            explained = sum((amount for _, amount, _ in found), Fraction(0))
            cause, explanation = row.without
            found.append((cause, row.pnl - explained, explanation))
        yield row, closed_by_noise(found, int(row.pnl * SCALE) - base, row.pnl)


def _paid(row: FillRow) -> Fraction:
    """Return the fee that was paid for a row's own fills."""
    money = ((one.row.fees, one.row.funding, one.row.open_costs) for one in row.own)
    return Fraction(sum(part or 0 for parts in money for part in parts), SCALE)


def _realised(row: FillRow) -> Fraction:
    return Fraction(sum(one.row.gross or 0 for one in row.own), SCALE)


def _parts(row: FillRow) -> _Parts:
    """Return the parts of a row's PnL, from as many of its own columns as fit."""
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


def _costs(row: FillRow, history: InstrumentHistory) -> Iterator[Named]:
    """Yield the errors in a row's fee, its funding, and the sum of its own columns."""
    parts, paid = _parts(row), _paid(row)
    yield _fee_cause(row, parts.fee), parts.fee - paid, _explain_fee(parts.fee, paid)
    if parts.rest:
        cause: Cause = "unexplained" if parts.gross is None else "arithmetic"
        yield cause, parts.rest, "its pnl is not the sum of its own columns"
    fees = Fraction(sum(one.row.fees or 0 for one in row.own), SCALE)
    funding = Fraction(sum(one.row.funding or 0 for one in row.own), SCALE)
    if not history.is_by_payment:
        explanation = "it booked a cost when it paid it: a cost counts when its quantity is closed"
        yield "timing", paid - fees, explanation
        if any(one.column("funding") for one in history.rows):
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


def _explain_fee(booked: Fraction, paid: Fraction) -> str:
    if not booked:
        return f"it never subtracted the fee of {_number_text(-paid)}"
    if is_same(booked, -paid):
        return f"it booked the fee of {_number_text(-paid)} with the wrong sign"
    return f"it booked a fee of {_number_text(-booked)}, and {_number_text(-paid)} was paid"


def _as_corrections(row: FillRow, found: list[Named], history: InstrumentHistory) -> list[Named]:
    """Return the errors as corrections if the row has the figures before a broker's restatement."""
    reported = [
        history.corrected.get((one.event.instrument, one.event.event_id)) for one in row.own
    ]
    firsts = [one for one in reported if one is not None]
    if not firsts:
        return found
    entry, fee = row.entry, row.column("fee")
    for one in firsts if len(row.own) == 1 else ():
        if one["price"] is not None and not (
            (entry.price is None or is_same(entry.price, Fraction(one["price"])))
            and (fee is None or one["amount"] is None or is_same(fee, Fraction(one["amount"])))
        ):
            return found
    explanation = "the broker restated its fill after reporting it"
    return [
        ("correction", amount, f"{explanation}: {detail}")
        if cause in ("price", "quantity", "fee_rate_guessed", "fee_missing")
        else (cause, amount, detail)
        for cause, amount, detail in found
    ]


def _gross_causes(history: InstrumentHistory) -> dict[str, list[Named]]:
    """Return the errors in the gross of each row."""
    mine = [row for row in history.rows if row.own]
    if any(one.event.rate != 1 for row in mine for one in row.own):
        explanation = "it counts another currency as the account's currency"
        return {
            row.name: [("currency", gross - _realised(row), explanation)]
            for row in mine
            if (gross := _parts(row).gross) is not None
        }
    local = {row.name: list(_errors_of_own_fill(row)) for row in mine}
    left = {row.name: _unexplained_gross(row, local[row.name]) for row in mine}
    if all(_is_noise(left[row.name], row) for row in mine):
        return local
    by_lots = _by_lots(history)
    if by_lots is not None:
        return by_lots
    explanation = "its gross differs from the gross of its fill by the account's lots"
    return {
        name: [*found, ("lot_method", left[name], explanation)] for name, found in local.items()
    }


def _unexplained_gross(row: FillRow, found: Iterable[Named]) -> Fraction:
    """Return the difference in a row's gross that the errors in `found` do not explain."""
    gross = _parts(row).gross
    if gross is None:
        return Fraction(0)
    return gross - _realised(row) - sum((amount for _, amount, _ in found), Fraction(0))


def _is_noise(amount: Fraction, row: FillRow) -> bool:
    return abs(amount) <= NOISE * max(Fraction(1), abs(row.pnl), abs(_realised(row)))


def _errors_of_own_fill(row: FillRow) -> Iterator[Named]:
    """Yield the errors in a row's gross that its own fill explains: quantity and exit price."""
    parts = _parts(row)
    gross, realised = parts.gross, _realised(row)
    if gross is None:
        return
    if parts.is_pending:
        yield "timing", -realised, "it shows no gross for this fill yet"
        return
    qty, filled = row.entry.qty, _nominal(row)
    multiplier = Fraction(row.own[0].event.multiplier or 1)
    if qty and gross and not is_same_qty(qty, filled, multiplier):
        units = min((filled, filled * multiplier), key=lambda one: abs(one - qty))
        off = gross * (1 - units / qty)
        gross -= off
        yield "quantity", off, _explain_quantity(qty, units)
    closed = Fraction(sum(one.row.closed_qty for one in row.own), SCALE)
    booked, mean = row.column("exit_price"), _mean_price(row)
    if booked and closed and not is_same(booked, mean):
        faces = closed * multiplier * -row.entry.sign
        is_inverse = bool(row.own[0].event.is_inverse)
        off = faces * (1 / booked - 1 / mean) * -1 if is_inverse else faces * (booked - mean)
        if _is_noise(gross - off - realised, row):
            yield "price", off, _explain_price(booked, mean)


def _by_lots(history: InstrumentHistory) -> dict[str, list[Named]] | None:
    """Return the errors in gross, by correcting the bot's fills one property at a time.

    The lots are computed again after each correction. Return None if no lots of the bot's own fills
    give its gross.
    """
    rows = history.rows
    if any(row.entry.qty is None or row.entry.price is None or not row.entry.sign for row in rows):
        return None
    events = [one.event for one in history.fills if one.event.kind == "fill"]
    if not events or any(one.price is None for one in events):
        return None
    multiplier = Fraction(events[0].multiplier or 1)
    is_in_contracts = _is_in_contracts(rows, multiplier)
    run = _Lots(history, multiplier, bool(events[0].is_inverse), is_in_contracts)
    if not run.find_lot_method():
        return None
    run.correct_step_by_step()
    return run.found


@dataclass(slots=True)
class _Lots:
    """The bot's fills in one instrument, corrected step by step."""

    history: InstrumentHistory
    multiplier: Fraction
    is_inverse: bool
    is_in_contracts: bool
    found: dict[str, list[Named]] = field(default_factory=lambda: defaultdict(list))
    gross: dict[str, int] = field(default_factory=dict)
    method: Method = "average"
    has_sides: bool = False

    def find_lot_method(self) -> bool:
        """Find the lot method by which the bot computed its gross; return whether there is one."""
        lines = self._lines(self.history.rows, lambda row: (row.entry.qty, row.entry.price))
        tries: list[tuple[Method, bool, Fraction]] = [
            (method, has_sides, face)
            for face in dict.fromkeys((Fraction(1), 1 / self.multiplier))
            for method in dict.fromkeys((self.history.method, "average", "fifo"))
            for has_sides in (False, True)
        ]
        for method, has_sides, face in tries:
            self.method, self.has_sides = method, has_sides
            gross = self._run(self._sided(lines))
            if all(self._is_booked(row, gross[row.name] * face) for row in self.history.rows):
                if face != 1:
                    contract = _number_text(self.multiplier)
                    explanation = f"it counted one contract as 1, and a contract is {contract}"
                    for row in self.history.rows:
                        self._record(
                            row, "multiplier", gross[row.name] * face - gross[row.name], explanation
                        )
                self.gross = gross
                return True
        return False

    def _is_booked(self, row: FillRow, units: Fraction) -> bool:
        gross, value = row.column("gross"), units / SCALE
        if gross is None or row.is_before:
            return True
        return abs(gross - value) <= NOISE * max(Fraction(1), abs(gross), abs(row.pnl))

    def correct_step_by_step(self) -> None:
        """Record how much each correction changes each row's gross, in this order."""
        kept = list(self.history.rows)
        for cause in _GONE:
            gone = {row.name for row in kept if self._is_gone(row) and row.without[0] == cause}
            if gone:
                kept = [row for row in kept if row.name not in gone]
                lines = self._lines(kept, lambda row: (row.entry.qty, row.entry.price))
                self._step(cause, "an earlier row has no fill of its own", lines, kept)
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
        self._add_broker_fills(kept)

    def _is_gone(self, row: FillRow) -> bool:
        return not row.own and not row.is_before

    def _add_broker_fills(self, rows: Sequence[FillRow]) -> None:
        """Continue from the corrected rows to all of the broker's fills, with those in no row."""
        self.has_sides = True
        kept = [row for row in rows if row.own]
        opening = [one.event for one in self.history.fills if one.event.kind == "opening"]
        lines = [self._event_line(one) for one in opening]
        if opening or len(kept) < len(rows):
            explanation = "the bot and the account held different positions before the window"
            self._compare(
                "lot_method", explanation, self._run([*lines, *self._true_lines(kept)]), kept
            )
        known: set[FillKey] = set()
        for cause in dict.fromkeys(one.cause for one in self.history.unrecorded.values()):
            known |= {key for key, one in self.history.unrecorded.items() if one.cause == cause}
            explanation = "an earlier fill is in no row of the bot"
            self._compare(cause, explanation, self._run(self._merged(lines, kept, known)), kept)
        whole = [one.event for one in self.history.fills]
        if any(len(row.own) > 1 for row in kept):
            explanation = "it books several fills of an order as one, at their mean price"
            self._broker_step("price", explanation, whole, kept, is_nominal=True)
        else:
            explanation = "its rows are in another order than the fills"
            self._broker_step("timing", explanation, whole, kept, is_nominal=True)
        explanation = "a fee taken in coin made the position smaller"
        self._broker_step("quantity", explanation, whole, kept)
        explanation = "the account's lots are matched by another method"
        for row in kept:
            units = Fraction(self.gross[row.name]) - _realised(row) * SCALE
            self._record(row, "lot_method", units, explanation)

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
        """Return the rows and the `known` fills in no row, in order of time."""
        at = {row.name: row.own[0].event.at for row in kept}
        lines = [(at[str(one.name)], one) for one in self._true_lines(kept)]
        lines += [
            (one.event.at, self._event_line(one.event))
            for one in self.history.fills
            if _key(one.event) in known
        ]
        return [*opening, *(line for _, line in sorted(lines, key=lambda one: one[0]))]

    def _event_line(self, event: Event, *, is_nominal: bool = True) -> _Line:
        qty = Fraction(event.qty or 0) if is_nominal else Fraction(effective(event), SCALE)
        return self._line(_key(event), event.position_side, qty, Fraction(event.price or 0))

    def _broker_step(
        self,
        cause: Cause,
        explanation: str,
        events: Sequence[Event],
        kept: Sequence[FillRow],
        *,
        is_nominal: bool = False,
    ) -> None:
        gross = self._run(self._event_line(one, is_nominal=is_nominal) for one in events)
        by_row = {row.name: sum(gross[_key(one.event)] for one in row.own) for row in kept}
        self._compare(cause, explanation, by_row, kept)

    def _step(
        self, cause: Cause, explanation: str, lines: Sequence[_Line], kept: Sequence[FillRow]
    ) -> None:
        self._compare(cause, explanation, self._run(self._sided(lines)), kept)

    def _compare(
        self, cause: Cause, explanation: str, gross: Mapping[Any, int], kept: Sequence[FillRow]
    ) -> None:
        for row in kept:
            if row.name in gross:
                moved = Fraction(self.gross[row.name] - gross[row.name])
                self._record(row, cause, moved, explanation or self._explanation(cause, row))
        self.gross = {**self.gross, **{row.name: gross.get(row.name, 0) for row in kept}}

    def _record(self, row: FillRow, cause: Cause, units: Fraction, explanation: str) -> None:
        if units:
            self.found[row.name].append((cause, units / SCALE, explanation))

    def _explanation(self, cause: Cause, row: FillRow) -> str:
        entry = row.entry
        qty, price = self._true_qty(row), self._true_price(row)
        if cause == "quantity" and entry.qty is not None and not is_same(entry.qty, qty):
            return _explain_quantity(entry.qty, qty)
        if cause == "price" and entry.price is not None and not is_same(entry.price, price):
            return _explain_price(entry.price, price)
        return (
            f"the {cause} of an earlier fill is wrong, and so the cost of the quantity closed here"
        )

    def _true_qty(self, row: FillRow) -> Fraction:
        """Return the filled quantity, in the unit that the bot uses."""
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
        """Return the gross of each fill, in units, by the lots of its side."""
        books: dict[str, Book] = {}
        gross: dict[Any, int] = defaultdict(int)
        for one in (line for line in lines if line.qty):
            book = books.setdefault(one.side, Book(self.method, self.is_inverse))
            gross[one.name] = book.fill(one.qty, one.value, 0).gross
        return gross


def _is_in_contracts(rows: Sequence[FillRow], multiplier: Fraction) -> bool:
    """Return whether the bot counts contracts and not coins: whichever is nearer."""
    mine = [(row.entry.qty or Fraction(0), _nominal(row)) for row in rows if row.own]
    contracts = sum(abs(qty - filled) for qty, filled in mine)
    return contracts <= sum(abs(qty - filled * multiplier) for qty, filled in mine)


def _key(event: Event) -> FillKey:
    return event.instrument, event.event_id


def _nominal(row: FillRow) -> Fraction:
    """Return the filled quantity of a row, in contracts, unsigned."""
    return abs(sum((Fraction(one.event.qty or 0) for one in row.own), Fraction(0)))


def _mean_price(row: FillRow) -> Fraction:
    """Return the mean price of a row's fills; harmonic for an inverse contract."""
    parts = [(abs(Fraction(one.event.qty or 0)), Fraction(one.event.price or 0)) for one in row.own]
    qty = sum((size for size, _ in parts), Fraction(0))
    if row.own[0].event.is_inverse:
        return qty / sum((size / price for size, price in parts), Fraction(0))
    return sum((size * price for size, price in parts), Fraction(0)) / qty


def _explain_quantity(booked: Fraction, filled: Fraction) -> str:
    return f"it booked {_number_text(booked)}, and the broker filled {_number_text(filled)}"


def _explain_price(booked: Fraction, mean: Fraction) -> str:
    return f"its price is {_number_text(booked)}, the broker's {_number_text(mean)}"


def _number_text(value: Fraction) -> str:
    return f"{float(value):.8g}"
