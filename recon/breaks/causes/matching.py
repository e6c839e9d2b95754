"""Match the broker's fills with the bot's trades, and find trades that were booked twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from recon.breaks.causes.ownership import Trade
from recon.core.numbers import SCALE
from recon.warehouse.database import Warehouse

COMPARED = ("instrument", "side", "qty", "entry_price", "exit_price", "pnl")
"""The columns in which a duplicate equals its original, if the duplicate names no order."""
NOISE = Fraction(1, 10**9)

Key = tuple[str, str]
"""A bot and the id of one of its trades."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The trades of each fill, by the fill's id, in the order in which they were opened.

    `twice` has the trades that duplicate another trade. `deleted` has bot and fill for the trades
    that the bot database had in an earlier run and has no more. `corrected` has the figures that
    the broker reported first, by account and fill id; the price is null where it is unknown.
    `known` has the trades that have a fill at the broker. `elsewhere` has the trades whose orders
    were filled in another account or before the window.
    """

    trades_of: Mapping[str, Sequence[Trade]]
    twice: Collection[Key]
    deleted: Collection[Key]
    corrected: Mapping[Key, Mapping[str, Any]]
    known: Collection[Key]
    elsewhere: Mapping[Key, Mapping[str, Any]]


def read_matched(warehouse: Warehouse, booked: Sequence[Mapping[str, Any]]) -> Matched:
    """Return the matches in `causes.matched`. `booked` has the trades in order of opening."""
    fills = warehouse.rows(
        """
        select m.bot, m.trade_id, m.instrument, f.event_id, f.qty, f.multiplier
        from causes.matched m
        join causes.fills f
          on f.account = m.account and f.instrument = m.instrument and f.order_id = m.order_id
        order by f.at, f.event_id
        """
    )
    of_trade: dict[Key, list[Mapping[str, Any]]] = defaultdict(list)
    for row in fills:
        of_trade[row["bot"], row["trade_id"]].append(row)
    twice = {*_by_orders(booked, of_trade), *_similar(booked, of_trade)}
    trades_of: dict[str, list[Trade]] = defaultdict(list)
    for trade in booked:
        key = trade["bot"], trade["trade_id"]
        if key not in twice:
            one = Trade(*key, trade["side"], _wanted_units(trade, of_trade[key]))
            for name in dict.fromkeys(row["event_id"] for row in of_trade[key]):
                trades_of[name].append(one)
    deleted = {(row["bot"], row["event_id"]) for row in warehouse.rows("from causes.deleted")}
    corrected = {
        (row["account"], row["event_id"]): row for row in warehouse.rows("from causes.corrected")
    }
    elsewhere = {
        (row["bot"], row["trade_id"]): row for row in warehouse.rows("from causes.elsewhere")
    }
    known = {key for key, its_fills in of_trade.items() if its_fills}
    return Matched(trades_of, twice, deleted, corrected, known, elsewhere)


def _by_orders(
    booked: Iterable[Mapping[str, Any]], of_trade: Mapping[Key, Sequence[Mapping[str, Any]]]
) -> Iterable[Key]:
    """Yield the trades all of whose fills belong to an earlier trade of the bot."""
    groups: dict[tuple[str, frozenset[str]], list[Mapping[str, Any]]] = defaultdict(list)
    for trade in booked:
        rows = of_trade.get((trade["bot"], trade["trade_id"]), ())
        if rows:
            groups[trade["bot"], frozenset(row["event_id"] for row in rows)].append(trade)
    for trades in groups.values():
        first, *others = trades
        rows = of_trade[first["bot"], first["trade_id"]]
        if others and not _are_parts(trades, rows):
            yield from ((one["bot"], one["trade_id"]) for one in others)


def _are_parts(trades: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether trades of the same orders each have a part of the closed quantity."""
    sides = [_filled(rows, 1), _filled(rows, -1)]
    closed = min(sides) or max(
        sides
    )  # one side only, if the bot database names only the closing order
    multiplier = Fraction(rows[0]["multiplier"] or 1)
    sizes = [None if one["qty"] is None else abs(Fraction(one["qty"])) for one in trades]
    known = [one for one in sizes if one is not None]
    if len(known) < len(sizes):
        return False
    return any(abs(sum(known) - whole) <= NOISE * whole for whole in (closed, closed * multiplier))


def _similar(
    booked: Iterable[Mapping[str, Any]], of_trade: Mapping[Key, Sequence[Mapping[str, Any]]]
) -> Iterable[Key]:
    """Yield the trades without orders and fills that equal a trade with fills."""
    booked = list(booked)
    real = {
        (trade["bot"], *(trade[name] for name in COMPARED))
        for trade in booked
        if of_trade.get((trade["bot"], trade["trade_id"]))
    }
    for trade in booked:
        looks = trade["bot"], *(trade[name] for name in COMPARED)
        has_fills = bool(of_trade.get((trade["bot"], trade["trade_id"])))
        if not has_fills and not trade["order_ids"] and looks in real:
            yield trade["bot"], trade["trade_id"]


def _wanted_units(trade: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Return a trade's quantity in contracts, in units. The bot may have stored it in coins."""
    if trade["qty"] is None or not rows:
        return None
    total = max(_filled(rows, 1), _filled(rows, -1))
    qty = abs(Fraction(trade["qty"]))
    in_contracts = qty / Fraction(rows[0]["multiplier"] or 1)
    return int(min((qty, in_contracts), key=lambda one: abs(one - total)) * SCALE)


def _filled(rows: Sequence[Mapping[str, Any]], sign: int) -> Fraction:
    return sum((abs(Fraction(row["qty"])) for row in rows if row["qty"] * sign > 0), Fraction(0))
