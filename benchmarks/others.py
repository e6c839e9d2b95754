"""The same work done in other ways: a Decimal loop, plain integers, pandas, one SQL query.

Each takes fills that lie ready in memory (the query: in the database) and gives what FIFO realised
in all, so that a way that reckons something else would be seen.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.fills import PLAIN_EVENTS
from benchmarks.measure import interleaved
from recon.lots.book import Book
from recon.lots.realise import Event, SessionPnl, realise

HERE = Path(__file__).resolve().parent
Fill = tuple[str, str, Any, str, Decimal, Decimal, Decimal]
"""Account, instrument, session date, side, quantity, price, fee (paid is negative)."""

FILLS = """
select account, instrument, session_date, side, qty, price, fee
from fills order by account, instrument, seq
"""


def decimal_loop(fills: Iterable[Fill]) -> Decimal:
    """Reckon FIFO, average and fees by key and session as anybody would, in Decimals.

    Exact but for the average's divisions, which round to 28 digits. Returns FIFO's gross.
    """
    zero = Decimal(0)
    keys: dict[tuple[str, str], tuple[deque[list[Decimal]], list[Decimal]]] = {}
    sums: dict[tuple[str, str, Any], list[Decimal]] = {}
    for account, instrument, session_date, side, qty, price, fee in fills:
        key = account, instrument
        if key not in keys:
            keys[key] = deque(), [zero, zero, zero]
        lots, pool = keys[key]
        total = sums.setdefault((account, instrument, session_date), [zero] * 4)
        signed = qty if side == "buy" else -qty
        held, cost, paid = pool
        closing = min(qty, abs(held)) if held * signed < 0 else zero
        closing_fee = fee * closing / qty
        if closing:
            sign = 1 if held > 0 else -1
            left = closing
            total[1] += closing_fee
            while left:  # FIFO: quantity, price and fee of a lot, as far as it is not closed yet
                lot = lots[0]
                part = min(left, lot[0])
                lot_fee = lot[2] * part / lot[0]
                total[0] += sign * part * (price - lot[1])
                total[1] += lot_fee
                lot[0] -= part
                lot[2] -= lot_fee
                left -= part
                if not lot[0]:
                    lots.popleft()
            share = closing / abs(held)
            released, released_fee = cost * share, paid * share
            total[2] += sign * (closing * price - released)
            total[3] += closing_fee + released_fee
            cost, paid = cost - released, paid - released_fee
        opening = qty - closing
        if opening:
            lots.append([opening, price, fee - closing_fee])
            cost, paid = cost + opening * price, paid + fee - closing_fee
        keys[key] = lots, [held + signed, cost, paid]
    return sum((total[0] for total in sums.values()), zero)


def integers(fills: Iterable[Fill]) -> Decimal:
    """Feed `recon.lots.book.Book` alone: FIFO, average and fees in plain integers of 10^-8."""
    books: dict[tuple[str, str], tuple[Book, Book]] = {}
    gross = 0
    for account, instrument, _, side, qty, price, fee in fills:
        key = account, instrument
        if key not in books:
            books[key] = Book("fifo"), Book("average")
        units = int(qty.scaleb(8))
        signed = units if side == "buy" else -units
        value, charged = units * int(price.scaleb(8)), int(fee.scaleb(16))
        fifo, average = books[key]
        gross += fifo.fill(signed, value, charged).gross
        average.fill(signed, value, charged)
    return Decimal(gross).scaleb(-16)


def plain(events: Iterable[Event]) -> Decimal:
    """Run `recon.lots.realise`, the readable definition, FIFO on both of its scopes."""
    accounts = {event.account: "fifo" for event in events}
    rows = realise(events, accounts)  # type: ignore[arg-type]
    units = sum(
        row.gross or 0 for row in rows if isinstance(row, SessionPnl) and row.scope == "bot"
    )
    return Decimal(units).scaleb(-18)


def pandas_apply(frame: Any) -> float:
    """Do it with `groupby.apply`, in floats: a loop over arrays for each key."""
    return float(frame.groupby(["account", "instrument"], sort=False).apply(_one_key).sum().iloc[0])


def _one_key(group: Any) -> Any:
    import pandas as pd

    columns = (group[name].to_numpy() for name in ("signed", "price", "fee"))
    lots: deque[list[float]] = deque()
    held = cost = paid = fifo = fifo_fees = average = average_fees = 0.0
    for signed, price, fee in zip(*(column.tolist() for column in columns), strict=True):
        qty = abs(signed)
        closing = min(qty, abs(held)) if held * signed < 0 else 0.0
        closing_fee = fee * closing / qty
        if closing:
            sign = 1 if held > 0 else -1
            left = closing
            fifo_fees += closing_fee
            while left > 1e-9 and lots:
                lot = lots[0]
                part = min(left, lot[0])
                lot_fee = lot[2] * part / lot[0]
                fifo += sign * part * (price - lot[1])
                fifo_fees += lot_fee
                lot[0], lot[2], left = lot[0] - part, lot[2] - lot_fee, left - part
                if lot[0] <= 1e-9:
                    lots.popleft()
            share = closing / abs(held)
            average += sign * (closing * price - cost * share)
            average_fees += closing_fee + paid * share
            cost, paid = cost * (1 - share), paid * (1 - share)
        opening = qty - closing
        if opening > 1e-9:
            lots.append([opening, price, fee - closing_fee])
            cost, paid = cost + opening * price, paid + fee - closing_fee
        held += signed
    return pd.Series([fifo, fifo_fees, average, average_fees])


def set_based(database: duckdb.DuckDBPyConnection) -> Decimal:
    """Run one query, FIFO's gross only: windows and ASOF joins."""
    rows = database.sql((HERE / "fifo.sql").read_text(encoding="utf-8")).fetchall()
    return sum((row[-1] for row in rows), Decimal(0))


def main(repeats: str, *names: str) -> None:
    """Print, for the small set and the whole set, each way's time (s), fills and FIFO gross."""
    small, whole = (duckdb.connect(name, read_only=True) for name in names)
    fills = small.sql(FILLS).fetchall()
    events = [Event(*row) for row in small.sql(PLAIN_EVENTS).fetchall()]
    frame = small.sql(
        "select account, instrument, if(side = 'buy', qty, -qty)::double as signed,"
        " price::double as price, fee::double as fee from fills order by account, instrument, seq"
    ).df()
    [(count,)] = whole.sql("select count(*) from fills").fetchall()
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "Decimal loop": (len(fills), lambda: decimal_loop(fills)),
        "plain integers": (len(fills), lambda: integers(fills)),
        "recon.lots.realise": (len(fills), lambda: plain(events)),
        "pandas groupby.apply": (len(fills), lambda: pandas_apply(frame)),
        "SQL FIFO": (count, lambda: set_based(whole)),
    }
    taken = interleaved({name: way for name, (_, way) in ways.items()}, int(repeats))
    gross = {name: str(way()) for name, (_, way) in ways.items() if name != "SQL FIFO"}
    gross["SQL FIFO"] = str(set_based(small))
    json.dump(
        {
            name: {"seconds": taken[name], "fills": size, "gross": gross[name]}
            for name, (size, _) in ways.items()
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
