"""Match bot rows with the broker's fills, for bot databases that have one row for each fill."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import pyarrow as pa

from recon.breaks.causes.fill_matching import BrokerFill, Entry, Paired, pair
from recon.warehouse.database import Warehouse

MATCHED = pa.schema(
    [
        (name, pa.string())
        for name in ("bot", "account", "trade_id", "instrument", "order_id", "event_id", "rule")
    ]
)
BY_LOOKS = "instrument, side, time and price"


def read_pairs(
    warehouse: Warehouse, bot: str, booked: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Entry], Paired]:
    """Return a bot's rows by id, in order, and the broker's fills that match them.

    In `causes.matched`, these fills replace the orders that the rows name.
    """
    entries = _entries(warehouse, bot, booked)
    orders: dict[tuple[str, str], list[BrokerFill]] = defaultdict(list)
    for row in warehouse.rows(
        "select f.* from causes.fills f join breaks.differing b on b.account = f.account "
        'where b.bot = ? order by f."at", f.event_id',
        [bot],
    ):
        one = _broker_fill(row)
        orders[one.instrument, one.order_id].append(one)
    names = warehouse.rows(
        "select bot, trade_id, instrument, order_id, rule from causes.matched "
        "where account = (select account from breaks.differing where bot = ?) "
        "order by all",
        [bot],
    )
    named: dict[str, list[BrokerFill]] = defaultdict(list)
    rules: dict[str, str] = {}
    taken_orders = set()
    for row in names:
        order = row["instrument"], row["order_id"]
        taken_orders.add(order)
        if row["bot"] == bot:
            named[row["trade_id"]] += orders[order]
            rules[row["trade_id"]] = row["rule"]
    free = [
        fill
        for order, fills in orders.items()
        if order not in taken_orders
        for fill in fills
        if fill.bot in (bot, None)
    ]
    paired = pair(list(entries.values()), named, free)
    _store_matches(warehouse, bot, booked, paired, rules)
    return entries, paired


def _store_matches(
    warehouse: Warehouse,
    bot: str,
    booked: Sequence[Mapping[str, Any]],
    paired: Paired,
    rules: Mapping[str, str],
) -> None:
    warehouse.run("delete from causes.matched where bot = ?", [bot])
    rows = [
        {
            "bot": bot,
            "account": booked[0]["account"],
            "trade_id": trade_id,
            "instrument": fill.instrument,
            "order_id": fill.order_id,
            "event_id": fill.event_id,
            "rule": rules.get(trade_id, BY_LOOKS),
        }
        for trade_id, fills in paired.fills_of.items()
        for fill in fills
    ]
    warehouse.append("causes", "matched", pa.Table.from_pylist(rows, schema=MATCHED))


def _broker_fill(row: Mapping[str, Any]) -> BrokerFill:
    return BrokerFill(
        *(row["instrument"], row["event_id"], row["order_id"], row["trade_id"], row["at"]),
        *(row["bot"], Fraction(row["qty"]), Fraction(row["price"] or 0)),
        Fraction(row["multiplier"] or 1),
    )


def _entries(
    warehouse: Warehouse, bot: str, booked: Sequence[Mapping[str, Any]]
) -> dict[str, Entry]:
    """Return each row with its fill in the bot database, by the row's id, the earliest first."""
    by_id: dict[tuple[str, str], dict[str, Any]] = {}
    by_time: dict[tuple[str, Any], list[dict[str, Any]]] = defaultdict(list)
    for fill in warehouse.rows(
        'from bot_database.fills where bot = ? order by "at", fill_id', [bot]
    ):
        by_id[fill["instrument"], fill["fill_id"]] = fill
        by_time[fill["instrument"], fill["at"]].append(fill)
    entries = {}
    for row in sorted(booked, key=lambda one: (one["closed_at"], one["trade_id"])):
        same_time = by_time.get((row["instrument"], row["closed_at"]), [])
        own = by_id.get((row["instrument"], row["trade_id"])) or _most_similar(row, same_time)
        entries[row["trade_id"]] = _entry(row, own)
    return entries


def _most_similar(row: Mapping[str, Any], fills: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the bot's fill that fits a row of the same instant, and remove it from `fills`."""
    ids = row["order_ids"] or []
    some = [one for one in fills if one["order_id"] in ids or not (one["order_id"] and ids)]
    if not some:
        return None
    best = max(
        some,
        key=lambda one: (
            row["trade_id"].endswith(one["fill_id"]),
            row["exit_price"] in (None, one["price"]),
            row["fee"] == one["fee"],
        ),
    )
    fills.remove(best)
    return best


def _entry(row: Mapping[str, Any], fill: Mapping[str, Any] | None) -> Entry:
    is_closing = bool(row["qty"])
    sign = 0 if row["side"] is None else 1 if (row["side"] == "long") != is_closing else -1
    qty = Fraction(row["qty"]) if is_closing else None
    price = None if row["exit_price"] is None else Fraction(row["exit_price"])
    fill_id = None
    if fill is not None:
        sign = 1 if fill["side"] == "buy" else -1
        qty, price = abs(Fraction(fill["qty"])), Fraction(fill["price"])
        fill_id = fill["fill_id"]
    return Entry(
        *(row["trade_id"], row["instrument"], row["closed_at"], row["side"], sign, qty, price),
        names_orders=bool(row["order_ids"]),
        fill_id=fill_id,
    )
