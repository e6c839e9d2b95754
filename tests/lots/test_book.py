from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.core.numbers import SCALE
from recon.core.records import Method
from recon.lots.book import Book, Realised, split
from tests.conftest import seeds
from tests.support.reckoner import UNIT, Fill, Funding, Outcome, Reckoner

HISTORIES = 1_500
METHODS: list[Method] = ["average", "fifo"]


def history(rng: random.Random) -> list[Fill | Funding]:
    """A run that adds, reduces, flips and goes flat, in quantities of very different sizes."""
    decimals = rng.choice([0, 1, 3, 8])
    step = Fraction(1, 10**decimals)
    price = Fraction(rng.randint(1, 10**6), rng.choice([1, 100, 10**4]))
    events: list[Fill | Funding] = []
    position = Fraction(0)
    for _ in range(rng.randint(1, 40)):
        if rng.random() < 0.2:
            events.append(Funding(Fraction(rng.randint(-(10**9), 10**9), 10**8)))
            continue
        size = step * rng.choice([1, 2, 3, 7, rng.randint(1, 10**4)])
        if position and rng.random() < 0.15:
            size = abs(position)  # to exactly flat
        qty = size if rng.random() < 0.5 else -size
        if position and rng.random() < 0.1:
            qty = -2 * position  # through zero, to the same size on the other side
        price = max(price + Fraction(rng.randint(-500, 500), 10**4), Fraction(1, 10**4))
        fee = Fraction(rng.randint(-(10**7), 10**6), 10**8)  # mostly paid, at times a rebate
        events.append(Fill(qty, price, fee))
        position += qty
    return events


def run_book(
    events: Sequence[Fill | Funding],
    method: Method,
    *,
    multiplier: Fraction = Fraction(1),
    is_inverse: bool = False,
) -> tuple[Book, list[Realised]]:
    book = Book(method, is_inverse)
    realised = []
    for event in events:
        if isinstance(event, Funding):
            realised.append(book.fund(units(event.amount)))
            continue
        size = abs(event.qty) * multiplier
        value = size / event.price if is_inverse else size * event.price
        realised.append(book.fill(units(event.qty), int(value / UNIT), units(event.fee)))
    return book, realised


def units(amount: Fraction) -> int:
    whole = amount / UNIT
    assert whole.denominator == 1
    return whole.numerator


def in_units(outcome: Outcome) -> tuple[int, ...]:
    parts = (outcome.closed, outcome.gross, outcome.fees, outcome.funding)
    return (*(units(part) for part in parts), 0)


def cases() -> Iterator[tuple[random.Random, Fraction, bool]]:
    for seed in seeds(HISTORIES, HISTORIES):
        rng = random.Random(seed)
        multiplier = rng.choice([Fraction(1), Fraction(1, 100), Fraction(5), Fraction(100)])
        yield rng, multiplier, rng.random() < 0.3


@pytest.mark.parametrize("method", METHODS)
def test_every_row_equals_the_reckoner_to_the_last_unit(method: Method) -> None:
    for rng, multiplier, is_inverse in cases():
        events = history(rng)
        terms: dict[str, Any] = {"multiplier": multiplier, "is_inverse": is_inverse}
        expected = Reckoner(method, **terms).run(events)
        _, realised = run_book(events, method, **terms)
        assert realised == [in_units(outcome) for outcome in expected]


@pytest.mark.parametrize("method", METHODS)
def test_rounding_never_adds_up_to_more_than_a_unit_a_step(method: Method) -> None:
    for rng, multiplier, is_inverse in cases():
        events = history(rng)
        terms: dict[str, Any] = {"multiplier": multiplier, "is_inverse": is_inverse}
        ideal = Reckoner(method, is_rounding=False, **terms).run(events)
        _, realised = run_book(events, method, **terms)
        gap = sum(row.gross for row in realised) * UNIT - sum(outcome.gross for outcome in ideal)
        assert abs(gap) <= 3 * len(events) * UNIT


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_lost_and_nothing_is_made(method: Method) -> None:
    """What went in as value, fees and funding is realised or still open, to the unit."""
    for rng, multiplier, _ in cases():
        events = history(rng)
        book, realised = run_book(events, method, multiplier=multiplier)
        fills = [event for event in events if isinstance(event, Fill)]
        cash = -sum(units(f.qty * multiplier * f.price) for f in fills)
        open_cost = book.cost if book.qty > 0 else -book.cost
        assert sum(row.gross for row in realised) == cash + open_cost
        assert sum(row.fees for row in realised) + book.carried_fees == sum(
            units(f.fee) for f in fills
        )
        funding = sum(units(e.amount) for e in events if isinstance(e, Funding))
        assert sum(row.funding for row in realised) + book.funding == funding
        assert book.qty == sum(units(f.qty) for f in fills)


def test_adding_moves_the_average_and_reducing_does_not() -> None:
    book = Book("average")
    book.fill(2 * SCALE, 2 * 100 * SCALE, 0)
    book.fill(2 * SCALE, 2 * 110 * SCALE, 0)
    assert book.fill(-1 * SCALE, 120 * SCALE, 0).gross == 15 * SCALE
    assert book.cost == 3 * 105 * SCALE
    assert book.fill(-3 * SCALE, 3 * 100 * SCALE, 0).gross == -15 * SCALE


def test_first_in_is_first_out() -> None:
    book = Book("fifo")
    book.fill(2 * SCALE, 2 * 100 * SCALE, -2)
    book.fill(2 * SCALE, 2 * 110 * SCALE, -4)
    assert book.fill(-3 * SCALE, 3 * 120 * SCALE, -3) == (3 * SCALE, 50 * SCALE, -7, 0, 0)
    assert (book.qty, book.cost, book.carried_fees) == (1 * SCALE, 110 * SCALE, -2)


def test_through_zero_closes_the_old_side_and_opens_the_rest() -> None:
    book = Book("average")
    book.fill(1 * SCALE, 100 * SCALE, -10)
    realised = book.fill(-4 * SCALE, 4 * 90 * SCALE, -40)
    assert realised == (1 * SCALE, -10 * SCALE, -20, 0, 0)
    assert (book.qty, book.cost, book.carried_fees) == (-3 * SCALE, 270 * SCALE, -30)


def test_funding_is_carried_and_released_in_proportion() -> None:
    book = Book("average")
    assert book.fund(-7).funding == -7  # flat: at once
    book.fill(4 * SCALE, 400 * SCALE, 0)
    assert book.fund(-100).funding == 0
    assert book.fill(-1 * SCALE, 100 * SCALE, 0).funding == -25
    assert book.fill(-3 * SCALE, 300 * SCALE, 0).funding == -75


def test_an_inverse_long_gains_what_its_entry_was_worth_more_in_coin() -> None:
    """100 USD · (1/20,000 - 1/25,000) · 10 contracts = 0.01 BTC."""
    book = Book("average", is_inverse=True)
    face = 10 * 100 * SCALE
    book.fill(10 * SCALE, face // 20_000, 0)
    assert book.fill(-10 * SCALE, face // 25_000, 0).gross == SCALE // 100


def test_a_fill_without_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="quantity"):
        Book("fifo").fill(0, 0, 0)


@given(
    st.integers(-(10**30), 10**30),
    st.lists(st.integers(-(10**24), 10**24), min_size=1, max_size=6).filter(lambda w: sum(w) != 0),
)
@settings(max_examples=300)
def test_a_split_sums_to_the_whole(amount: int, weights: list[int]) -> None:
    parts = split(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        ideal = Fraction(amount) * weight / sum(weights)
        assert abs(part - ideal) <= len(weights)


@given(
    st.lists(
        st.tuples(st.integers(1, 10**20), st.integers(0, 10**22), st.integers(-(10**18), 0)),
        min_size=1,
        max_size=6,
    ),
    st.integers(-(10**20), 10**21),
    st.sampled_from(["fifo", "average"]),
    st.integers(1, 10**20),
)
def test_a_split_changes_the_quantity_and_nothing_else(
    fills: list[tuple[int, int, int]], change: int, method: Method, sold: int
) -> None:
    book = Book(method)
    for qty, value, fee in fills:
        book.fill(qty, value, fee)
    if sold < book.qty:
        book.fill(-sold, sold, 0)
    before = (book.qty, book.cost, book.carried_fees)
    if book.adjust(change):
        assert (book.qty, book.cost, book.carried_fees) == (before[0] + change, *before[1:])
        assert book.qty > 0
        assert sum(lot.left for lot in book.lots) == book.qty
        realised = book.fill(-book.qty, 0, 0)
        assert (realised.gross, realised.fees) == (-before[1], before[2])
        assert (book.cost, book.carried_fees) == (0, 0)
    else:
        assert before[0] + change <= 0
        assert (book.qty, book.cost, book.carried_fees) == before


@pytest.mark.parametrize("side", [1, -1])
def test_renamed_lots_go_on_as_they_were(side: int) -> None:
    old, new, plain = Book("fifo"), Book("fifo"), Book("fifo")
    for book in (old, plain):
        book.fill(3 * side, 30, -1)
        book.fill(5 * side, 80, -2)
        book.fill(-1 * side, 11, 0)
    old.move(new)
    assert (old.qty, old.cost, old.carried_fees) == (0, 0, 0)
    assert new.fill(-4 * side, 60, 0) == plain.fill(-4 * side, 60, 0)
    with pytest.raises(ValueError, match="flat"):
        plain.move(new)


def test_what_is_given_leaves_at_cost() -> None:
    book = Book("fifo")
    book.fill(-4, 40, -4)
    assert book.give(3) == (30, -3)
    assert (book.qty, book.cost, book.carried_fees) == (-1, 10, -1)
