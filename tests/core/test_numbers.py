from __future__ import annotations

from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.core.numbers import EXACT, from_units, percentage, rounded, text, to_units

amounts = st.decimals(
    allow_nan=False, allow_infinity=False, places=18, min_value=-(10**19), max_value=10**19
)


@given(amounts)
def test_units_and_back(amount: Decimal) -> None:
    assert from_units(to_units(amount)) == amount


@given(amounts)
def test_text_loses_nothing(amount: Decimal) -> None:
    shown = text(amount)
    assert Decimal(shown) == amount
    assert "E" not in shown.upper()


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("1309", "1309.00"),
        ("-373.000", "-373.00"),
        ("0", "0"),
        ("-0.00", "0"),
        ("1.5", "1.50"),
        ("1E+3", "1000.00"),
        ("0.000000000000000001", "0.000000000000000001"),
    ],
)
def test_text_is_plain_with_at_least_two_places(amount: str, shown: str) -> None:
    assert text(Decimal(amount)) == shown


def test_a_digit_beyond_the_unit_raises() -> None:
    with pytest.raises(ValueError, match="18 decimal places"):
        to_units(Decimal("1e-19"))


def test_arithmetic_that_would_round_raises() -> None:
    with pytest.raises(Inexact):
        EXACT.divide(Decimal(1), Decimal(3))


@given(amounts, amounts.filter(bool))
def test_percentage_is_the_share_to_two_places(part: Decimal, whole: Decimal) -> None:
    shown = percentage(part, whole)
    assert shown is not None
    ideal = 100 * abs(Fraction(part)) / abs(Fraction(whole))
    assert abs(Fraction(shown) - ideal) <= Fraction(1, 200)
    assert shown.as_tuple().exponent == -2


def test_zero_has_no_percentage() -> None:
    assert percentage(Decimal(5), Decimal(0)) is None


def test_half_goes_to_even() -> None:
    assert [rounded(Decimal(n)) for n in ("0.125", "0.135")] == [Decimal("0.12"), Decimal("0.14")]
