"""beancount: FIFO booking of transactions, one for what a fill closes and one for what it opens.

Run by `benchmarks/peers.py` in an environment of its own: FILLS.csv, REALISED.csv, repeats. Prints
JSON: fills, seconds to make transactions of the fills, seconds to book them, and, beside that,
seconds for the inventories and the FIFO method alone, without the rest of booking.
"""

import csv
import datetime as dt
import json
import sys
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from statistics import median

from beancount.core import data
from beancount.core.amount import Amount
from beancount.core.inventory import Inventory
from beancount.core.number import MISSING
from beancount.core.position import Cost, CostSpec
from beancount.parser import booking_full, booking_method, options

DAY = dt.date(2026, 5, 1)
UNIT, CURRENCY, PNL = "FILL", "USDT", "Income:PnL"


def transactions(fills):
    """Return what a ledger would say of the fills; a lot's label keeps equal prices apart."""
    entries = []
    for fill in fills:
        account = "Assets:" + fill["key"].replace("/", ":").replace("okx", "Okx")
        sign = 1 if fill["side"] == "buy" else -1
        qty, closing, price = fill["qty"], fill["closing_qty"], fill["price"]
        if closing:
            cost = CostSpec(MISSING, None, MISSING, None, None, None)
            entries.append(_transaction(fill, account, sign * closing, price, cost))
        if qty > closing:
            cost = CostSpec(price, None, CURRENCY, DAY, fill["fill_id"], None)
            entries.append(_transaction(fill, account, sign * (qty - closing), price, cost))
    return entries


def _transaction(fill, account, units, price, cost):
    postings = [
        data.Posting(account, Amount(units, UNIT), cost, Amount(price, CURRENCY), None, {}),
        data.Posting("Assets:Cash", Amount(-units * price, CURRENCY), None, None, None, {}),
    ]
    if cost.number_per is MISSING:
        postings.append(data.Posting(PNL, MISSING, None, None, None, {}))
    meta = data.new_metadata("fills", 0)
    meta["fill"] = fill["fill_id"]
    return data.Transaction(meta, DAY, "*", None, "", frozenset(), frozenset(), postings)


def book(entries):
    """Book them FIFO, as beancount books any ledger."""
    methods = defaultdict(lambda: data.Booking.FIFO)
    booked, errors = booking_full.book(entries, options.OPTIONS_DEFAULTS, methods)
    if errors:
        raise ValueError(errors[0])
    return booked


def parts(fills):
    """Return what the inventories alone need: key, what closes or opens, price."""
    given = []
    for fill in fills:
        sign = 1 if fill["side"] == "buy" else -1
        price = fill["price"]
        closing, opening = fill["closing_qty"], fill["qty"] - fill["closing_qty"]
        if closing:
            units = Amount(sign * closing, UNIT)
            posting = data.Posting("Assets", units, None, Amount(price, CURRENCY), None, None)
            given.append((fill["key"], posting, None, price))
        if opening:
            cost = Cost(price, CURRENCY, DAY, fill["fill_id"])
            given.append((fill["key"], Amount(sign * opening, UNIT), cost, price))
    return given


def reduce_alone(given):
    """Keep the inventories with beancount's own FIFO method, without transactions."""
    inventories = defaultdict(Inventory)
    total = Decimal(0)
    for key, what, cost, price in given:
        inventory = inventories[key]
        if cost is not None:
            inventory.add_amount(what, cost)
            continue
        reductions, *_ = booking_method.booking_method_FIFO(None, what, list(inventory))
        for part in reductions:
            inventory.add_amount(part.units, part.cost)
            total += part.units.number * (part.cost.number - price)
    return total


def timed(work, *arguments):
    """Return the result of a call, and its time in seconds."""
    started = time.perf_counter()
    result = work(*arguments)
    return result, time.perf_counter() - started


def main(source, target, repeats):
    """Book the fills, write what each realised, print the times."""
    numbers = ("qty", "price", "closing_qty")
    with Path(source).open(encoding="utf-8", newline="") as file:
        fills = [
            row | {name: Decimal(row[name]) for name in numbers} for row in csv.DictReader(file)
        ]
    prepared, looped, alone = [], [], []
    for _ in range(int(repeats)):
        entries, prepare_s = timed(transactions, fills)
        booked, loop_s = timed(book, entries)
        _, alone_s = timed(reduce_alone, parts(fills))
        prepared.append(prepare_s)
        looped.append(loop_s)
        alone.append(alone_s)
    realised = dict.fromkeys((fill["fill_id"] for fill in fills), Decimal(0))
    for entry in booked:
        for posting in entry.postings:
            if posting.account == PNL:
                realised[entry.meta["fill"]] -= posting.units.number
    with Path(target).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((name, f"{pnl:f}") for name, pnl in realised.items())
    answer = {
        "fills": len(fills),
        "prepare_s": median(prepared),
        "loop_s": median(looped),
        "alone_s": median(alone),
    }
    json.dump(answer, sys.stdout)


main(*sys.argv[1:])
