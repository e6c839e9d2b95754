"""Random histories, plain and in the compiled kernel's columns, and the one held to the other."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from recon.core.numbers import from_units, to_units
from recon.core.records import Method
from recon.lots.realise import Bystander, ClosingBook, ClosingLot, Event, Key, SessionPnl, realise
from recon.lots.realise import Opening as PlainOpening

np = pytest.importorskip("numpy")
pytest.importorskip("numba", reason="the extra for volume is not installed")

from recon.lots.compiled import BOOKS, EVENTS, LOTS, Opening, Outcome, realise_compiled  # noqa: E402

Row = SessionPnl | ClosingBook | ClosingLot | Bystander
Rows = tuple[list[SessionPnl], list[ClosingBook], list[ClosingLot]]

START = datetime(2026, 5, 1)
KINDS = {"fill": 0, "funding": 1, "fee": 2, "opening": 4}
SIDES = ["net", "long", "short"]
FEES_IN = {"base": 1, "unknown": 2, "account": 3}
BOTS = ["a", "b", "c"]
SCOPES = ["bot", "account"]
METHODS: list[Method] = ["average", "fifo"]

# --- Histories


def number(rng: random.Random, digits: int, places: int) -> Decimal:
    """A number above 0 of up to `digits` digits, `places` of them behind the point."""
    return from_units(rng.randint(1, 10 ** rng.randint(1, digits)), places)


def other_rate(rng: random.Random) -> Decimal:
    """A rate as brokers give it, or with as many places as there are, up to 18."""
    made = rng.choice([number(rng, 18, 18), number(rng, 18, 18) + rng.randint(1, 17)])
    usual = ["1.1", "0.0067", "0.912345", "154.23", "7.75", "25000", "0", "17.999999999999999999"]
    return rng.choice([*map(Decimal, usual), number(rng, 12, 9), made])


def style(rng: random.Random) -> dict[str, Any]:
    """What an instrument is like: how its quantities and prices look."""
    return rng.choice(
        [
            {"qty": (2, 0), "price": (6, 2)},  # contracts, shares
            {"qty": (9, 8), "price": (7, 2)},  # BTC
            {"qty": (15, 0), "price": (6, 10)},  # SHIB
            {"qty": (3, 18), "price": (9, 4)},  # dust
            {"qty": (12, 12), "price": (12, 12)},  # values that need too many places
            {"qty": (18, 2), "price": (2, 0), "is_large": True},
        ]
    )


def history(rng: random.Random, key: Key, events: int, **terms: Any) -> list[Event]:
    """One instrument's events: bots and nobody, costs, through zero, unknown at times."""
    odd = rng.choice([0.0] * 5 + [0.02])
    terms = {"is_inverse": rng.random() < 0.25, "odd": odd, "other_rates": 0.0} | terms
    looks = {**style(rng), **terms}
    owners: list[list[str | None]] = [["a"], [None], ["a", "b", None], ["c", "b", "a"]]
    bots = rng.choice(owners)
    sides = rng.choice([["net"], ["long", "short"], SIDES])
    gaps = rng.choice([[0, 1, 300], [0, 300, 1500, 4000], [700]])
    multiplier = rng.choice([Decimal(1), Decimal("0.01"), Decimal(50), Decimal("0.000001")])
    position: dict[tuple[str | None, str], int] = {}
    minutes, made = 0, []
    for n in range(events):
        minutes += rng.choice(gaps)
        at = START + timedelta(minutes=minutes)
        bot: str | None = rng.choice(bots)
        side = rng.choice(sides)
        rate: Decimal | None = Decimal(1)
        if rng.random() < looks["odd"]:
            rate = None
        elif rng.random() < looks["other_rates"]:
            rate = other_rate(rng)
        common = (*key, "fill", str(n), at, at.date(), bot, side)
        if rng.random() < 0.2:
            kind = rng.choice(["funding", "funding", "fee", "interest"])
            amount = number(rng, 12, rng.choice([2, 8, 10])) * rng.choice([-1, 1])
            event = Event(*common, None, None, None, None, amount, None, rate)
            made.append(event._replace(kind=kind, position_side="net"))
            continue
        digits, places = looks["qty"]
        if n > events // 2 and looks.get("is_finer"):
            places = min(places + 9, 18)
        qty = to_units(number(rng, digits, places)) * rng.choice([-1, 1])
        is_opening = not made and looks["odd"] and rng.random() < 0.5
        held, step = position.get((bot, side), 0), 10 ** (18 - places)
        if held and rng.random() < 0.25:
            qty = rng.choice([-held, -2 * held, -held // step // 2 * step or held])
        price = number(rng, *looks["price"])
        fee, fee_in = number(rng, 9, 8) * rng.choice([-1, -1, 1]), "settlement"
        if rng.random() < looks["odd"]:
            fee_in = rng.choice(["base", "unknown"])
        if rng.random() < looks.get("in_account", 0.02):
            fee_in = "account"
        if looks.get("is_base") or fee_in == "base":
            taken = abs(qty) // 1000 // 10**6 * 10**6
            fee, fee_in = from_units(-taken), "base"
            position[bot, side] = held + qty - taken
        else:
            position[bot, side] = held + qty
        terms_of = (from_units(qty), price, multiplier, looks["is_inverse"])
        event = Event(*common, *terms_of, fee, fee_in, rate)
        made.append(event._replace(kind="opening", price=None) if is_opening else event)
    return made


def histories(rng: random.Random, keys: int, events: int = 60, **terms: Any) -> list[Event]:
    names = [(f"account{n // 7}", f"instrument{n % 7}") for n in range(keys)]
    return [
        event
        for key in sorted(names)
        for event in history(rng, key, rng.randint(1, events), **terms)
    ]


# --- Codes


def keys_of(events: Sequence[Event]) -> list[Key]:
    return sorted({(event.account, event.instrument) for event in events})


def bot_code(bot: str | None) -> int:
    return -1 if bot is None else BOTS.index(bot)


def batch_of(events: Sequence[Event], keys: Sequence[Key]) -> pa.RecordBatch:
    code = {key: number for number, key in enumerate(keys)}
    columns = [
        [
            code[e.account, e.instrument],
            KINDS.get(e.kind, 3),
            e.session_date,
            e.at,
            seq,
            bot_code(e.bot),
            SIDES.index(e.position_side),
            e.qty,
            e.price,
            e.multiplier,
            e.is_inverse,
            e.amount,
            FEES_IN.get(e.fee_in or "", 0),
            e.rate,
        ]
        for seq, e in enumerate(events)
    ]
    arrays = [
        pa.array(values, field.type)
        for values, field in zip(zip(*columns, strict=True), EVENTS, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=EVENTS)


def batches_of(
    rng: random.Random, events: Sequence[Event], keys: Sequence[Key]
) -> Iterator[pa.RecordBatch]:
    whole = batch_of(events, keys)
    most = rng.choice([1, 3, 100, len(events)])
    row = 0
    while row < len(events):
        size = rng.randint(1, most)
        yield whole.slice(row, size)
        row += size


def codes_of(events: Sequence[Event], method: Method, account: Method | None = None) -> Any:
    codes = [METHODS.index(method), METHODS.index(account or method)]
    return np.array([codes] * len(keys_of(events)), np.int8)


def decoded(outcome: Outcome, keys: Sequence[Key]) -> Rows:
    def units(value: Decimal | None) -> int | None:
        return None if value is None else to_units(value)

    def rows(table: pa.Table) -> Iterator[dict[str, Any]]:
        for row in table.to_pylist():
            row["account"], row["instrument"] = keys[row.pop("key")]
            for name in row.keys() - {"multiplier", "rate"}:
                if isinstance(row[name], Decimal):
                    row[name] = units(row[name])
            if "scope" in row:
                row["scope"] = SCOPES[row["scope"]]
                row["bot"] = None if row["bot"] < 0 else BOTS[row["bot"]]
            if "side" in row:
                row["position_side"] = SIDES[row.pop("side")]
            yield row

    return (
        [SessionPnl(**row) for row in rows(outcome.realised)],
        [ClosingBook(**row) for row in rows(outcome.books)],
        [ClosingLot(**row) for row in rows(outcome.lots)],
    )


def sorted_out(items: Sequence[Row], without: Sequence[Key] = ()) -> Rows:
    left = [item for item in items if (item.account, item.instrument) not in without]
    return (
        [item for item in left if isinstance(item, SessionPnl)],
        [item for item in left if isinstance(item, ClosingBook)],
        [item for item in left if isinstance(item, ClosingLot)],
    )


def opened(openings: dict[Key, PlainOpening], keys: Sequence[Key]) -> Opening:
    books: list[dict[str, Any]] = []
    lots: list[dict[str, Any]] = []
    for number_of, key in enumerate(keys):
        opening = openings.get(key, PlainOpening([], []))
        items: list[ClosingBook | ClosingLot] = [*opening.books, *opening.lots]
        for item in items:
            row = item._asdict() | {"key": number_of}
            for name in ("qty", "cost", "funding", "value", "fee", "consumed"):
                if name in row:
                    row[name] = from_units(row[name])
            if isinstance(item, ClosingBook):
                row["scope"], row["bot"] = SCOPES.index(item.scope), bot_code(item.bot)
                row["side"] = SIDES.index(item.position_side)
                books.append(row)
            else:
                lots.append(row)
    return Opening(
        pa.Table.from_pylist(books, schema=BOOKS), pa.Table.from_pylist(lots, schema=LOTS)
    )


def methods(events: Sequence[Event], method: Method) -> dict[str, Method]:
    return {event.account: method for event in events}


def check(rng: random.Random, events: Sequence[Event], method: Method) -> list[Key]:
    """Hold compiled against plain, every row; return the keys that were handed over."""
    keys = keys_of(events)
    outcome = realise_compiled(batches_of(rng, events, keys), codes_of(events, method))
    handed_over = [keys[key] for key in outcome.handed_over]
    plain = list(realise(events, methods(events, method)))
    assert decoded(outcome, keys) == sorted_out(plain, handed_over)
    return handed_over


def unknown_in(events: Sequence[Event], method: Method) -> set[Key]:
    """Return the instruments of which something cannot be valued: these are handed over."""
    return {
        (item.account, item.instrument)
        for item in realise(events, methods(events, method))
        if (isinstance(item, ClosingBook) and not item.is_valued)
        or (isinstance(item, SessionPnl) and None in item)
    }


def left_before(whole: Rows, session: date) -> dict[Key, PlainOpening]:
    _, closing_books, closing_lots = whole
    books = {b[:3]: b for b in closing_books if b.session_date < session}
    lots = {lot[:4]: lot for lot in closing_lots if lot.session_date < session}
    openings: dict[Key, PlainOpening] = {}
    for name in sorted(books):
        key = name[0], name[1]
        openings.setdefault(key, PlainOpening([], []))
        openings[key].books.append(books[name])  # type: ignore[attr-defined]
    for lot_name in sorted(lots):
        if lots[lot_name].qty:
            openings[lot_name[0], lot_name[1]].lots.append(  # type: ignore[attr-defined]
                lots[lot_name]
            )
    return openings


def fill(minute: int, qty: str = "1", price: str = "100", **more: Any) -> Event:
    at = START + timedelta(minutes=minute)
    event = Event(
        "okx",
        "BTC",
        "fill",
        str(minute),
        at,
        at.date(),
        "a",
        "net",
        Decimal(qty),
        Decimal(price),
        Decimal(1),
        False,
        Decimal(0),
        "settlement",
        Decimal(1),
    )
    return event._replace(**more)


def run(batches: Sequence[Sequence[Event]], method: Method = "fifo", **more: Any) -> Outcome:
    events = [event for batch in batches for event in batch]
    keys = keys_of(events)
    coded = [batch_of(batch, keys) for batch in batches]
    return realise_compiled(coded, codes_of(events, method), **more)
