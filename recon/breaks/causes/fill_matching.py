"""Which of the broker's fills is which row, of books that have a row for each fill.

Pure. An order's id outranks everything: the rows that name an order share its fills, by the fill's
id, its quantity and its price. Only rows that name no order of the broker's are matched by
instrument, side, time, quantity and price.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from recon.breaks.causes.decomposition import is_same

NEAR = timedelta(minutes=15)
"""How far apart a row and its fill may be in time, where nothing names the fill."""
NEAR_PRICE = Fraction(1, 50)
"""How far apart they may be in price, as a share of the fill's."""

_Choice = Callable[["Entry", Sequence["Execution"]], Sequence["Execution"]]
"""Which of the fills that are left of its orders a row takes."""

FillKey = tuple[str, str]
"""An instrument and the id of a fill."""


class Entry(NamedTuple):
    """One row of books that have a row for each fill.

    `side` is that of the position that it opened or closed; `sign` is 1 where it bought, -1 where
    it sold and 0 where the books do not say. `qty` is unsigned, in contracts or in coins, None
    where the books do not say. `names_orders`: it names orders, whether the broker has them or not.
    """

    trade_id: str
    instrument: str
    at: datetime
    side: str | None
    sign: int
    qty: Fraction | None
    price: Fraction | None
    names_orders: bool
    fill_id: str | None = None


class Execution(NamedTuple):
    """One of the broker's fills. `qty` is signed, in contracts, bought +; `bot` owns it."""

    instrument: str
    event_id: str
    order_id: str
    trade_id: str | None
    at: datetime
    bot: str | None
    qty: Fraction
    price: Fraction
    multiplier: Fraction

    @property
    def key(self) -> FillKey:
        """What tells it from the account's other fills."""
        return self.instrument, self.event_id


@dataclass(slots=True)
class Paired:
    """The fills of each row, and the rows that are another row booked again."""

    fills_of: dict[str, list[Execution]] = field(default_factory=dict)
    twins: set[str] = field(default_factory=set)
    taken: set[FillKey] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    """The rows of whose orders the broker has a fill."""

    def take(self, entry: Entry, fills: Sequence[Execution]) -> None:
        """Give fills to a row; none leave it waiting."""
        if fills:
            self.fills_of[entry.trade_id] = list(fills)
            self.taken.update(one.key for one in fills)

    def waits(self, entry: Entry) -> bool:
        """Return whether a row has no fill yet."""
        return entry.trade_id not in self.fills_of


def pair(
    entries: Sequence[Entry],
    named: Mapping[str, Sequence[Execution]],
    free: Iterable[Execution],
) -> Paired:
    """Return which fills each row is of; a fill is of one row.

    `entries` are one bot's rows in the order in which they happened, `named` the fills of the
    orders that each row names, `free` the fills that a row without orders may be of.
    """
    paired = Paired(known={name for name, fills in named.items() if fills})
    _by_order(paired, entries, named)
    unnamed = [one for one in entries if paired.waits(one) and not named.get(one.trade_id)]
    left = [one for one in free if one.key not in paired.taken]
    for entry, fills in _by_looks(unnamed, left):
        paired.take(entry, fills)
    paired.twins = set(_twins(entries, named, paired.fills_of))
    return paired


def _by_order(
    paired: Paired, entries: Sequence[Entry], named: Mapping[str, Sequence[Execution]]
) -> None:
    """Share the fills of each order among the rows that name it."""

    def left_of(entry: Entry) -> list[Execution]:
        return [one for one in named.get(entry.trade_id, ()) if one.key not in paired.taken]

    def choose(chooses: Iterable[_Choice], some: Sequence[Entry]) -> None:
        for one in chooses:
            for entry in filter(paired.waits, some):
                same_side = [fill for fill in left_of(entry) if fill.qty * entry.sign >= 0]
                paired.take(entry, one(entry, same_side))

    choose(_SURE, entries)
    naming: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        for order in {one.order_id for one in named.get(entry.trade_id, ())}:
            naming[order].append(entry)
    choose(_LIKELY, [one for some in naming.values() if len(some) > 1 for one in some])
    for some in naming.values():
        waiting = list(filter(paired.waits, some))
        for place, entry in enumerate(waiting):
            is_last = place == len(waiting) - 1
            paired.take(entry, left_of(entry) if is_last else left_of(entry)[:1])


def is_same_qty(qty: Fraction | None, contracts: Fraction, multiplier: Fraction) -> bool:
    """Return whether the books' quantity is the broker's, in contracts or in coins."""
    if qty is None:
        return False
    return is_same(qty, abs(contracts)) or is_same(qty, abs(contracts) * multiplier)


def _is_same_qty(entry: Entry, fill: Execution) -> bool:
    return is_same_qty(entry.qty, fill.qty, fill.multiplier)


def _is_same_price(entry: Entry, fill: Execution) -> bool:
    return entry.price is not None and is_same(entry.price, fill.price)


def _has_same_id(entry: Entry, fill: Execution) -> bool:
    return entry.fill_id is not None and entry.fill_id in (fill.event_id, fill.trade_id)


def _whole_order(entry: Entry, fills: Sequence[Execution]) -> Sequence[Execution]:
    """Take all that is left of an order for a row that has the quantity of all of it."""
    if len(fills) < 2:
        return ()
    whole = sum((one.qty for one in fills), Fraction(0))
    return fills if is_same_qty(entry.qty, whole, fills[0].multiplier) else ()


def _first(is_it: Callable[[Entry, Execution], bool]) -> _Choice:
    return lambda entry, fills: [one for one in fills if is_it(entry, one)][:1]


_SURE: Sequence[_Choice] = (
    _first(lambda entry, fill: _has_same_id(entry, fill) and _is_same_qty(entry, fill)),
    _whole_order,
    _first(lambda entry, fill: _is_same_qty(entry, fill) and _is_same_price(entry, fill)),
)
_LIKELY: Sequence[_Choice] = (_first(_has_same_id), _first(_is_same_qty), _first(_is_same_price))
"""How the rows that name an order find their fills in it. A row that is alone in naming an order,
and is none of its fills for sure, is all of it."""


def _by_looks(
    entries: Sequence[Entry], fills: Iterable[Execution]
) -> Iterable[tuple[Entry, Sequence[Execution]]]:
    """Yield the rows that name nothing with the fill, or the order, that each looks like most.

    What has the same quantity comes first, then the nearest in time.
    """
    there = _units(fills)
    near = []
    for number, entry in enumerate(entries):
        some = there.get((entry.instrument, entry.sign), [])
        first = bisect_left(some, entry.at - NEAR, key=lambda one: one[0].at)
        last = bisect_right(some, entry.at + NEAR, key=lambda one: one[0].at)
        for place in range(first, last):
            if (is_same_qty := _looks_like(entry, some[place])) is not None:
                apart = abs(some[place][0].at - entry.at)
                near.append((not is_same_qty, apart, number, place, some[place]))
    rows: set[int] = set()
    taken: set[FillKey] = set()
    for _, _, number, _, unit in sorted(near, key=lambda one: one[:4]):
        if number not in rows and not any(fill.key in taken for fill in unit):
            rows.add(number)
            taken.update(fill.key for fill in unit)
            yield entries[number], unit


def _units(
    fills: Iterable[Execution],
) -> dict[tuple[str, int], list[Sequence[Execution]]]:
    """Return what a row may be of, by instrument and sign: each fill, and each order of several."""
    orders: dict[tuple[str, str, int], list[Execution]] = defaultdict(list)
    there: dict[tuple[str, int], list[Sequence[Execution]]] = defaultdict(list)
    for fill in sorted(fills, key=lambda one: (one.at, one.event_id)):
        sign = 1 if fill.qty > 0 else -1
        orders[fill.instrument, fill.order_id, sign].append(fill)
        there[fill.instrument, sign].append([fill])
    for (instrument, _, sign), some in orders.items():
        if len(some) > 1:
            there[instrument, sign].append(some)
    for units in there.values():
        units.sort(key=lambda one: one[0].at)
    return there


def _looks_like(entry: Entry, unit: Sequence[Execution]) -> bool | None:
    """Return whether a row has the quantity of a fill, or an order; None where it is not its."""
    if entry.price is not None and all(
        abs(entry.price - one.price) > NEAR_PRICE * one.price for one in unit
    ):
        return None
    whole = sum((one.qty for one in unit), Fraction(0))
    is_same_one = is_same_qty(entry.qty, whole, unit[0].multiplier)
    return is_same_one if is_same_one or len(unit) == 1 else None


def _twins(
    entries: Sequence[Entry],
    named: Mapping[str, Sequence[Execution]],
    fills_of: Mapping[str, Collection[Execution]],
) -> Iterable[str]:
    """Yield the rows without a fill that say what a row with one says.

    Of the same order; a row that names none, of the same instant.
    """

    def terms(entry: Entry) -> tuple[object, ...]:
        return entry.instrument, entry.sign, entry.qty, entry.price

    def orders(entry: Entry) -> frozenset[str]:
        return frozenset(one.order_id for one in named.get(entry.trade_id, ()))

    real = [entry for entry in entries if entry.trade_id in fills_of]
    by_order = {(orders(entry), *terms(entry)) for entry in real}
    by_time = {(entry.at, *terms(entry)) for entry in real}
    for entry in entries:
        if entry.trade_id in fills_of:
            continue
        if named.get(entry.trade_id):
            is_twin = (orders(entry), *terms(entry)) in by_order
        else:
            is_twin = not entry.names_orders and (entry.at, *terms(entry)) in by_time
        if is_twin:
            yield entry.trade_id
