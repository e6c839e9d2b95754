"""`exact_products` of whole columns is `exact_product` of each row."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.bot_databases.exact_product import _product, exact_product, exact_products


def decimals(digits: int, places: int) -> st.SearchStrategy[list[object]]:
    number = st.integers(-(10**digits) + 1, 10**digits - 1)
    exact = number.map(lambda one: Decimal(f"{one}e-{places}"))
    return st.lists(st.none() | exact, min_size=3, max_size=3)


TEXTS = st.lists(
    st.sampled_from([None, "", " ", "1.5", "-0.000123", "+7", "2.", "1e-20", "9" * 20]),
    min_size=3,
    max_size=3,
)
INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=3, max_size=3)
COLUMNS = st.one_of(
    st.tuples(st.integers(1, 20), st.integers(0, 26)).flatmap(
        lambda shape: st.tuples(st.just(pa.decimal128(38, shape[1])), decimals(*shape))
    ),
    st.tuples(st.just(pa.int64()), INTEGERS),
    st.tuples(st.just(pa.string()), TEXTS),
    st.tuples(st.just(pa.null()), st.just([None, None, None])),
)


@given(st.lists(COLUMNS, min_size=1, max_size=4))
def test_any_columns(columns: list[tuple[pa.DataType, list[object]]]) -> None:
    factors = [pa.chunked_array([pa.array(values, of)]) for of, values in columns]
    rows = list(zip(*(one.to_pylist() for one in factors), strict=True))
    assert said(lambda: exact_products(*factors).to_pylist()) == said(
        lambda: [exact_product(*row) for row in rows]
    )


def said(work_out: Callable[[], list[Decimal | None]]) -> list[Decimal | None] | str:
    try:
        return work_out()
    except ValueError as error:
        return str(error)


def test_an_amount_a_rate_and_a_fee_take_the_fast_way() -> None:
    amount = pa.array([Decimal("9.9999999999999999999"), None], pa.decimal128(38, 20))
    rate = pa.array([Decimal("69999.1234567890123456"), Decimal(1)], pa.decimal128(38, 16))
    fee = pa.array([Decimal("0.0005"), Decimal("0.0005")], pa.decimal128(38, 4))
    found = _product([amount, rate, fee])
    assert found is not None
    assert found.type == pa.decimal128(38, 18)
    first = [one[0].as_py() for one in (amount, rate, fee)]
    assert found.to_pylist() == [exact_product(*first), None]


def test_a_float_is_refused() -> None:
    with pytest.raises(TypeError, match="cast to decimal"):
        exact_products(pa.chunked_array([pa.array([1.5])]))
