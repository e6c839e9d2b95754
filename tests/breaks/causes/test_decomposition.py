"""Decomposition: the steps from a bot's row to the broker's add up for any row."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

import pytest

from recon.breaks.causes.decomposition import Actual, Booked, Part, decompose
from recon.core.numbers import SCALE
from tests.conftest import seeds


def part(qty: int, price: str) -> Part:
    return Part(Fraction(qty), Fraction(price))


def actual(*parts: Part, fees: str = "0", funding: str = "0", multiplier: str = "0.1") -> Actual:
    """Return a trade at the broker, with the gross of its own prices."""
    gross = -sum((one.qty * one.price * Fraction(multiplier) for one in parts), Fraction(0))
    paid = (int(Fraction(one) * SCALE) for one in (gross, fees, funding))
    gross_units, fee_units, funding_units = paid
    return Actual(
        parts,
        Fraction(multiplier),
        is_inverse=False,
        gross=gross_units,
        fees=fee_units,
        funding=funding_units,
    )


def booked(pnl: str, **columns: str) -> Booked:
    names = {name: value if name == "side" else Decimal(value) for name, value in columns.items()}
    return Booked(Decimal(pnl), **names)  # type: ignore[arg-type]


LONG = actual(part(10, "100"), part(-10, "110"), fees="-1", funding="-0.5")
TERMS = {"side": "long", "qty": "1", "entry_price": "100", "exit_price": "110"}


@pytest.mark.parametrize(
    ("row", "due"),
    [
        (booked("8.5", **TERMS, gross="10", fee="-1", funding="-0.5"), {}),
        (booked("8.5", **TERMS), {}),
        (booked("10", **TERMS), {"fee_missing": "1", "funding_missing": "0.5"}),
        (booked("9", **TERMS), {"funding_missing": "0.5"}),
        (booked("9.5", **TERMS), {"fee_missing": "1"}),
        (booked("7.3", **TERMS, funding="-0.5"), {"fee_rate_guessed": "-1.2"}),
        (
            booked("10", **TERMS, fee="-1", funding="-0.5"),
            {"fee_missing": "1", "funding_missing": "0.5"},
        ),
        (booked("18.5", **{**TERMS, "qty": "2"}, fee="-1", funding="-0.5"), {"quantity": "10"}),
        (booked("98.5", **{**TERMS, "qty": "10"}, fee="-1", funding="-0.5"), {"multiplier": "90"}),
        (booked("-11.5", **{**TERMS, "side": "short"}, fee="-1", funding="-0.5"), {"side": "-20"}),
        (booked("3", **TERMS, gross="10", fee="-1", funding="-0.5"), {"arithmetic": "-5.5"}),
        (booked("8.5"), {}),
        (booked("10"), {"fee_missing": "1", "funding_missing": "0.5"}),
        (booked("12.34"), {"unexplained": "3.84"}),
    ],
)
def test_each_error_is_named(row: Booked, due: dict[str, str]) -> None:
    steps = {one.cause: Fraction(one.amount, SCALE) for one in decompose(row, LONG)}
    assert steps == {cause: Fraction(amount) for cause, amount in due.items()}


def test_a_wrong_price_is_explained() -> None:
    parts = [part(10, "100"), part(-2, "110"), part(-8, "105")]
    first = decompose(booked("10", **TERMS, fee="0", funding="0"), actual(*parts))
    assert [(one.cause, one.amount) for one in first] == [("price", 4 * SCALE)]
    assert first[0].says == "its exit price is the price of the first of 2 fills"
    plain = {**TERMS, "exit_price": "107.5"}
    mean = decompose(booked("7.5", **plain, fee="0", funding="0"), actual(*parts))
    assert mean[0].says == "its exit price is the plain mean of 2 fills"


def test_a_trade_whose_orders_closed_nothing_has_the_cause_quantity() -> None:
    [step] = decompose(booked("10", **TERMS), actual(part(10, "100")))
    assert (step.cause, step.amount) == ("quantity", 10 * SCALE - actual(part(10, "100")).net)


@pytest.mark.parametrize("seed", seeds(100, 300))
def test_the_steps_add_up_for_any_row(seed: int) -> None:
    rng = random.Random(seed)

    def amount(most: int = 10_000) -> Decimal:
        return Decimal(rng.randint(-most, most)) / 100

    def some(value: Decimal) -> Decimal | None:
        return rng.choice([None, value, value, Decimal(0)])

    row = Booked(
        amount(),
        rng.choice([None, "long", "short"]),
        some(amount()),
        some(abs(amount())),
        some(abs(amount())),
        some(amount()),
        some(amount(100)),
        some(amount(100)),
    )
    parts = [
        Part(Fraction(rng.choice([-3, -1, 1, 2, 5])), Fraction(rng.randint(1, 9_999), 100))
        for _ in range(rng.randint(0, 5))
    ]
    gross, fees, funding = (int(Fraction(amount()) * SCALE) + rng.randint(-9, 9) for _ in range(3))
    there = Actual(
        parts,
        Fraction(rng.choice(["0.01", "1", "100"])),
        is_inverse=rng.random() < 0.3,
        gross=gross,
        fees=fees,
        funding=funding,
        has_other_fees=rng.random() < 0.5,
        is_in_account_currency=rng.random() < 0.8,
    )
    assert (
        sum(one.amount for one in decompose(row, there))
        == int(Fraction(row.pnl) * SCALE) - there.net
    )


IN_COIN = LONG._replace(
    gross=LONG.gross * 60_000, fees=LONG.fees * 60_000, funding=0, is_in_account_currency=False
)


@pytest.mark.parametrize(
    ("pnl", "due"),
    [
        ("10", {"currency": -599_990, "fee_missing": 60_000}),
        ("10.001", {"currency": Fraction("-599989.999"), "fee_missing": 60_000}),
        ("9", {"currency": -539_991}),
        ("8.99", {"currency": Fraction("-539991.01")}),
        ("540000", {}),
    ],
)
def test_a_pnl_in_the_trade_s_own_currency_has_the_cause_currency(
    pnl: str, due: dict[str, Fraction]
) -> None:
    steps = decompose(booked(pnl), IN_COIN)
    assert {one.cause: Fraction(one.amount, SCALE) for one in steps} == due
