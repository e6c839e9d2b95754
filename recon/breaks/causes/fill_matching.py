"""Match the broker's fills with the rows of a bot database that has one row for each fill. Pure.

The order's id comes first: the rows that name an order share its fills, by the fill's id, quantity
and price. Only rows that name no order of the broker are matched by instrument, side, time,
quantity and price.
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
"""The largest time between a row and its fill, if no id links them."""
NEAR_PRICE = Fraction(1, 50)
"""The largest difference in price between a row and its fill, as a share of the fill's price."""

_Choice = Callable[["Entry", Sequence["BrokerFill"]], Sequence["BrokerFill"]]
"""Chooses a row's fills from the remaining fills of its orders."""

FillKey = tuple[str, str]
"""An instrument and the id of a fill."""


class Entry(NamedTuple):
    """One row of a bot database that has one row for each fill.

    `side` is the side of the position that the row opened or closed. `sign` is 1 for a buy, -1 for
    a sell and 0 if unknown. `qty` is unsigned, in contracts or in coins, and None if unknown.
    `names_orders`: the row names orders, whether the broker has them or not.
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


class BrokerFill(NamedTuple):
    """One fill at the broker. `qty` is signed, in contracts: bought is positive. `bot` owns it."""

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
        """The key of the fill in its account."""
        return self.instrument, self.event_id


@dataclass(slots=True)
class Paired:
    """The fills of each row, and the rows that duplicate another row."""

    fills_of: dict[str, list[BrokerFill]] = field(default_factory=dict)
    duplicates: set[str] = field(default_factory=set)
    taken: set[FillKey] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    """The rows whose orders have a fill at the broker."""

    def take(self, entry: Entry, fills: Sequence[BrokerFill]) -> None:
        """Assign fills to a row. With no fills, the row stays unmatched."""
        if fills:
            self.fills_of[entry.trade_id] = list(fills)
            self.taken.update(one.key for one in fills)

    def waits(self, entry: Entry) -> bool:
        """Return whether a row has no fill yet."""
        return entry.trade_id not in self.fills_of


def pair(
    entries: Sequence[Entry],
    named: Mapping[str, Sequence[BrokerFill]],
    free: Iterable[BrokerFill],
) -> Paired:
    """Return the fills of each row. Each fill belongs to at most one row.

    `entries` has one bot's rows in order of time. `named` has the fills of the orders that each row
    names. `free` has the fills that a row without orders may match.
    """
    paired = Paired(known={name for name, fills in named.items() if fills})
    _by_order(paired, entries, named)
    unnamed = [one for one in entries if paired.waits(one) and not named.get(one.trade_id)]
    left = [one for one in free if one.key not in paired.taken]
    for entry, fills in _by_looks(unnamed, left):
        paired.take(entry, fills)
    paired.duplicates = set(_duplicates(entries, named, paired.fills_of))
    return paired


def _by_order(
    paired: Paired, entries: Sequence[Entry], named: Mapping[str, Sequence[BrokerFill]]
) -> None:
    """Share the fills of each order among the rows that name it."""

    def left_of(entry: Entry) -> list[BrokerFill]:
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
    """Return whether the bot's quantity equals the broker's, in contracts or in coins."""
    if qty is None:
        return False
    return is_same(qty, abs(contracts)) or is_same(qty, abs(contracts) * multiplier)


def _is_same_qty(entry: Entry, fill: BrokerFill) -> bool:
    return is_same_qty(entry.qty, fill.qty, fill.multiplier)


def _is_same_price(entry: Entry, fill: BrokerFill) -> bool:
    return entry.price is not None and is_same(entry.price, fill.price)


def _has_same_id(entry: Entry, fill: BrokerFill) -> bool:
    return entry.fill_id is not None and entry.fill_id in (fill.event_id, fill.trade_id)


def _whole_order(entry: Entry, fills: Sequence[BrokerFill]) -> Sequence[BrokerFill]:
    """Take all remaining fills of an order, for a row that has their whole quantity."""
    if len(fills) < 2:
        return ()
    whole = sum((one.qty for one in fills), Fraction(0))
    return fills if is_same_qty(entry.qty, whole, fills[0].multiplier) else ()


def _first(is_it: Callable[[Entry, BrokerFill], bool]) -> _Choice:
    return lambda entry, fills: [one for one in fills if is_it(entry, one)][:1]


_SURE: Sequence[_Choice] = (
    _first(lambda entry, fill: _has_same_id(entry, fill) and _is_same_qty(entry, fill)),
    _whole_order,
    _first(lambda entry, fill: _is_same_qty(entry, fill) and _is_same_price(entry, fill)),
)
_LIKELY: Sequence[_Choice] = (_first(_has_same_id), _first(_is_same_qty), _first(_is_same_price))
"""The rules by which the rows that name an order choose its fills. A row that alone names an order,
and surely matches none of its fills, takes all of them."""


def _by_looks(
    entries: Sequence[Entry], fills: Iterable[BrokerFill]
) -> Iterable[tuple[Entry, Sequence[BrokerFill]]]:
    """Yield the rows without ids, each with the fill or order that is most similar.

    An equal quantity comes first, then the shortest time.
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
    fills: Iterable[BrokerFill],
) -> dict[tuple[str, int], list[Sequence[BrokerFill]]]:
    """Return each fill, and each order of several fills, by instrument and sign."""
    orders: dict[tuple[str, str, int], list[BrokerFill]] = defaultdict(list)
    there: dict[tuple[str, int], list[Sequence[BrokerFill]]] = defaultdict(list)
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


def _looks_like(entry: Entry, unit: Sequence[BrokerFill]) -> bool | None:
    """Return whether a row has the quantity of a fill or order; None if the two cannot match."""
    if entry.price is not None and all(
        abs(entry.price - one.price) > NEAR_PRICE * one.price for one in unit
    ):
        return None
    whole = sum((one.qty for one in unit), Fraction(0))
    is_same_one = is_same_qty(entry.qty, whole, unit[0].multiplier)
    return is_same_one if is_same_one or len(unit) == 1 else None


def _duplicates(
    entries: Sequence[Entry],
    named: Mapping[str, Sequence[BrokerFill]],
    fills_of: Mapping[str, Collection[BrokerFill]],
) -> Iterable[str]:
    """Yield the rows without a fill that equal a row with a fill.

    Both must name the same order or, if they name none, have the same time.
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
            is_duplicate = (orders(entry), *terms(entry)) in by_order
        else:
            is_duplicate = not entry.names_orders and (entry.at, *terms(entry)) in by_time
        if is_duplicate:
            yield entry.trade_id
