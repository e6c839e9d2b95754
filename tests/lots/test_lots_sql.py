"""FIFO as SQL says it, without lots and without a program: what `recon.lots.book` is held to.

The k-th unit ever bought meets the k-th unit ever sold, through zero too, since at no time is there
both something bought and something sold that waits. So the running quantities of either side, laid
on one line and cut wherever one of them has an end, give every match there is; and what a match
gains is its quantity times (sold at - bought at), in the session of whichever came later.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal

import duckdb
import pytest

from recon.core.numbers import SCALE, to_units
from recon.lots.book import Book
from tests.conftest import seeds

Fill = tuple[str, int, date, Decimal, Decimal]
"""Instrument, number, session, signed quantity, price."""

MATCHES = """
with sides as (
  select
    instrument,
    n,
    session_date,
    price,
    qty > 0 as is_bought,
    abs(qty) as size,
    sum(abs(qty)) over (partition by instrument, qty > 0 order by n) as reaches
  from fills
),

cuts as (
  select
    instrument,
    reaches,
    coalesce(lag(reaches) over (partition by instrument order by reaches), 0) as starts
  from (select distinct instrument, reaches from sides)
),

-- From one cut to the next, who bought and who sold: the first of each side to reach that far.
matches as (
  select
    c.instrument,
    c.reaches - c.starts as qty,
    b.price as bought_at,
    s.price as sold_at,
    greatest(b.session_date, s.session_date) as session_date
  from cuts c
  asof join (from sides where is_bought) b
    on b.instrument = c.instrument and c.reaches <= b.reaches
  asof join (from sides where not is_bought) s
    on s.instrument = c.instrument and c.reaches <= s.reaches
)

select
  instrument,
  session_date,
  sum(qty)::decimal(38, 0) as closed_qty,
  sum(qty * (sold_at - bought_at))::decimal(38, 0) as gross
from matches
group by instrument, session_date
order by instrument, session_date
"""
"""Quantities in thousandths, prices in hundredths, as hugeint: nothing is rounded."""


def history(rng: random.Random, instrument: str) -> list[Fill]:
    """A run with three places of quantity and two of price, so that nothing is cut off."""
    day, position, fills = date(2026, 1, 1), Decimal(0), []
    price = Decimal(rng.randint(100, 10**7)) / 100
    for n in range(rng.randint(1, 80)):
        day += timedelta(days=rng.choice([0, 0, 0, 1, 3]))
        qty = Decimal(rng.choice([1, 500, 1000, rng.randint(1, 10**6)])) / 1000
        qty = qty if rng.random() < 0.5 else -qty
        if position and rng.random() < 0.25:
            qty = rng.choice([-position, -2 * position])  # to flat, and as far beyond it
        price = max(price + Decimal(rng.randint(-500, 500)) / 100, Decimal("0.01"))
        fills.append((instrument, n, day, qty, price))
        position += qty
    return fills


def by_program(fills: list[Fill]) -> dict[tuple[str, date], tuple[int, int]]:
    books: dict[str, Book] = {}
    sums: dict[tuple[str, date], tuple[int, int]] = {}
    for instrument, _, day, qty, price in fills:
        book = books.setdefault(instrument, Book("fifo"))
        value = to_units(abs(qty)) * to_units(price) // SCALE
        realised = book.fill(to_units(qty), value, 0)
        if realised.closed_qty:
            closed, gross = sums.get((instrument, day), (0, 0))
            sums[instrument, day] = closed + realised.closed_qty, gross + realised.gross
    return sums


def by_sql(fills: list[Fill]) -> dict[tuple[str, date], tuple[int, int]]:
    con = duckdb.connect()
    con.sql(
        "create table fills"
        " (instrument text, n integer, session_date date, qty hugeint, price hugeint)"
    )
    whole = [
        (instrument, n, day, to_units(qty, 1000), to_units(price, 100))
        for instrument, n, day, qty, price in fills
    ]
    con.executemany("insert into fills values (?, ?, ?, ?, ?)", whole)
    return {
        (instrument, day): (int(closed) * SCALE // 1000, int(gross) * SCALE // 100_000)
        for instrument, day, closed, gross in con.sql(MATCHES).fetchall()
    }


@pytest.mark.parametrize("seed", seeds(2, 6))
def test_fifo_is_what_sql_makes_of_running_quantities(seed: int) -> None:
    rng = random.Random(seed)
    fills = [fill for n in range(30) for fill in history(rng, f"instrument{n}")]
    found = by_sql(fills)
    assert found == by_program(fills)
    assert len(found) > 200


def test_a_unit_bought_meets_the_unit_sold_of_its_number() -> None:
    day, later = date(2026, 1, 1), date(2026, 1, 2)
    fills = [
        ("BTC", 1, day, Decimal(2), Decimal(100)),
        ("BTC", 2, day, Decimal(-3), Decimal(110)),  # two of them at 100, and one goes short
        ("BTC", 3, later, Decimal(1), Decimal(105)),
    ]
    expected = {
        ("BTC", day): (2 * SCALE, 20 * SCALE),
        ("BTC", later): (1 * SCALE, 5 * SCALE),
    }
    assert by_sql(fills) == by_program(fills) == expected
