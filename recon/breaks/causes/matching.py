"""Which trades of the books a fill belongs to, and which trades are one trade booked twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from recon.breaks.causes.ownership import Trade
from recon.core.numbers import SCALE
from recon.warehouse.database import Warehouse

SAME = ("instrument", "side", "qty", "entry_price", "exit_price", "pnl")
"""What a trade that was booked twice has in common with itself, where no order is named."""
ENOUGH = Fraction(1, 10**9)

Key = tuple[str, str]
"""A bot and the id of a trade of its."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The trades of each fill, by the fill's id, in the order in which they were opened.

    `twice` are the trades that are another one booked again, and `deleted` the fills, each with its
    bot, of trades that were in the books on an earlier night. `corrected` gives a fill by account
    and id as it was told first; its price is null where that is not known. `known` are the trades
    of which the broker has a fill, and `elsewhere` gives those whose orders were filled in another
    account, or before the window.
    """

    trades_of: Mapping[str, Sequence[Trade]]
    twice: Collection[Key]
    deleted: Collection[Key]
    corrected: Mapping[Key, Mapping[str, Any]]
    known: Collection[Key]
    elsewhere: Mapping[Key, Mapping[str, Any]]


def read_matched(warehouse: Warehouse, booked: Sequence[Mapping[str, Any]]) -> Matched:
    """Return what `causes.matched` says, of trades in the order in which they were opened."""
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
    twice = {*_by_orders(booked, of_trade), *_by_looks(booked, of_trade)}
    trades_of: dict[str, list[Trade]] = defaultdict(list)
    for trade in booked:
        key = trade["bot"], trade["trade_id"]
        if key not in twice:
            one = Trade(*key, trade["side"], _wants(trade, of_trade[key]))
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
    """Yield the trades whose fills another trade of the bot has already, all of them."""
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
    """Return whether trades of the same orders share what these closed, and none has all of it."""
    sides = [_filled(rows, 1), _filled(rows, -1)]
    closed = min(sides) or max(sides)  # of one side where the books name only the closing order
    multiplier = Fraction(rows[0]["multiplier"] or 1)
    sizes = [None if one["qty"] is None else abs(Fraction(one["qty"])) for one in trades]
    known = [one for one in sizes if one is not None]
    if len(known) < len(sizes):
        return False
    return any(abs(sum(known) - whole) <= ENOUGH * whole for whole in (closed, closed * multiplier))


def _by_looks(
    booked: Iterable[Mapping[str, Any]], of_trade: Mapping[Key, Sequence[Mapping[str, Any]]]
) -> Iterable[Key]:
    """Yield the trades without orders and fills that say what one that has fills says."""
    booked = list(booked)
    real = {
        (trade["bot"], *(trade[name] for name in SAME))
        for trade in booked
        if of_trade.get((trade["bot"], trade["trade_id"]))
    }
    for trade in booked:
        looks = trade["bot"], *(trade[name] for name in SAME)
        has_fills = bool(of_trade.get((trade["bot"], trade["trade_id"])))
        if not has_fills and not trade["order_ids"] and looks in real:
            yield trade["bot"], trade["trade_id"]


def _wants(trade: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Return a trade's quantity in contracts, in units; the books may have it in coins."""
    if trade["qty"] is None or not rows:
        return None
    total = max(_filled(rows, 1), _filled(rows, -1))
    qty = abs(Fraction(trade["qty"]))
    in_contracts = qty / Fraction(rows[0]["multiplier"] or 1)
    return int(min((qty, in_contracts), key=lambda one: abs(one - total)) * SCALE)


def _filled(rows: Sequence[Mapping[str, Any]], sign: int) -> Fraction:
    return sum((abs(Fraction(row["qty"])) for row in rows if row["qty"] * sign > 0), Fraction(0))
