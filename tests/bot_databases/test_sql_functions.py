"""The functions that mappings have of their own: exact, and null where something is unknown."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.bot_databases.sql_functions import average_cost, exact_quotient

NUMBERS = st.decimals(-1000, 1000, places=9)
FILLS = st.lists(st.tuples(NUMBERS.filter(bool), st.decimals("0", "100000", places=9)), max_size=20)
ULP = Fraction(1, 10**18)


@given(NUMBERS, NUMBERS)
def test_a_quotient_is_rounded_once(part: Decimal, whole: Decimal) -> None:
    found = exact_quotient(str(part), whole)
    if not whole:
        assert found is None
    else:
        assert found is not None
        assert abs(Fraction(found) - Fraction(part) / Fraction(whole)) <= ULP / 2


def test_a_quotient_of_what_is_unknown() -> None:
    assert (exact_quotient(None, 1), exact_quotient(1, None), exact_quotient(1, 0)) == (None,) * 3
    with pytest.raises(TypeError, match="cast to decimal"):
        exact_quotient(1.5, 1)


@given(FILLS)
def test_average_cost_equals_a_slow_computation(fills: list[tuple[Decimal, Decimal]]) -> None:
    found = average_cost([qty for qty, _ in fills], [value for _, value in fills])
    assert found is not None
    held, cost = Fraction(0), Fraction(0)
    for (qty_text, value_text), one in zip(fills, found, strict=True):
        qty, value = Fraction(qty_text), Fraction(value_text)
        closed = min(abs(qty), abs(held)) if qty * held < 0 else Fraction(0)
        entry = cost * closed / abs(held) if closed else Fraction(0)
        proceeds = value * closed / abs(qty)
        gross = (proceeds - entry) * (1 if held > 0 else -1)
        held, cost = held + qty, cost - entry + value - proceeds
        assert one is not None
        assert Fraction(one["closed"]) == closed
        assert Fraction(one["held"]) == held
        assert abs(Fraction(one["gross"]) - gross) <= len(fills) * 2 * ULP


def test_from_an_unknown_fill_on_nothing_is_known() -> None:
    one = Decimal(1)
    known, *rest = average_cost([one, None, one], [one, one, one]) or []
    assert known == {"closed": Decimal(0), "gross": Decimal(0), "held": Decimal(1)}
    assert rest == [None, None]
    assert average_cost(None, [one]) is None
    with pytest.raises(ValueError, match="a value for each quantity"):
        average_cost([one], [])
