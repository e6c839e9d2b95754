"""`exact_product(a, b, …)`, a function for mappings: a product rounded once.

`exact_product` defines the result for one row. `exact_products` gives the same for whole columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from recon.core.numbers import EXACT, PLACES, rounded

NUMBER = r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?"
"""A number in text, as a regular expression."""

_PLAIN = r"^-?[0-9]{1,20}(\.[0-9]{1,30})?$"
_PLAIN_TYPE = pa.decimal256(50, 30)
_MONEY = pa.decimal128(38, PLACES)
_WHOLE_DIGITS = 38 - PLACES
_MAX_DIGITS = 76
"""The digits of Arrow's largest decimal."""


def exact_product(*factors: object) -> Decimal | None:
    """Return the product of exact numbers, rounded once to 18 places; None if any is unknown.

    Raises TypeError for a float, ValueError for text that is not a number and for a product of more
    than twenty digits before its point.
    """
    numbers: list[Decimal] = []
    for factor in factors:
        if factor is None or (isinstance(factor, str) and not factor.strip()):
            return None
        if isinstance(factor, bool | float):
            raise TypeError(f"exact_product({factor!r}): cast to decimal or varchar first")
        if isinstance(factor, str) and not re.fullmatch(NUMBER, factor):
            raise ValueError(f"exact_product({factor!r}): the argument is not a number")
        numbers.append(Decimal(str(factor)))
    product = rounded(reduce(EXACT.multiply, numbers, Decimal(1)), PLACES)
    if product.adjusted() > _WHOLE_DIGITS - 1:
        raise ValueError(f"exact_product: {product} has more than twenty digits before its point")
    return product


def exact_products(*factors: pa.ChunkedArray) -> pa.Array:
    """Return `exact_product` of each row of columns of equal length, as decimal(38, 18).

    A row is computed on its own if Arrow cannot hold its exact product or if it is refused.
    """
    columns = [factor.combine_chunks() for factor in factors]
    product = _product(columns)
    if product is not None:
        return product
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return pa.array([exact_product(*row) for row in rows], _MONEY)


def _product(columns: Sequence[pa.Array]) -> pa.Array | None:
    """Return the products, or None where they must be computed row by row."""
    product: pa.Array | None = None
    for column in columns:
        number = _decimal(column)
        if number is None:
            return None
        if product is not None:
            if product.type.precision + number.type.precision + 2 > _MAX_DIGITS:
                return None
            number = pc.multiply(product, number)
        product = number
    if product is None or _digits(product) - product.type.scale > _WHOLE_DIGITS - 1:
        return None
    places, room = product.type.scale, max(product.type.scale, PLACES) + _WHOLE_DIGITS
    if room > _MAX_DIGITS:
        return None
    product = product.cast(pa.decimal256(room, places))
    if places > PLACES:
        product = pc.round(product, ndigits=PLACES, round_mode="half_to_even")
    return product.cast(_MONEY)


def _decimal(column: pa.Array) -> pa.Array | None:
    """Return a column's numbers as decimals of as few digits as possible, or None."""
    if pa.types.is_string(column.type):
        text = pc.if_else(pc.equal(pc.utf8_trim_whitespace(column), ""), None, column)
        is_plain = pc.all(pc.match_substring_regex(text, _PLAIN), min_count=0).as_py()
        column = text.cast(_PLAIN_TYPE) if is_plain else None
    elif pa.types.is_null(column.type):
        column = column.cast(pa.decimal128(1, 0))
    elif pa.types.is_integer(column.type):
        column = column.cast(pa.decimal128(20, 0))
    if column is None or not pa.types.is_decimal(column.type):
        return None
    return column.cast(pa.decimal256(max(_digits(column), column.type.scale, 1), column.type.scale))


def _digits(column: pa.Array) -> int:
    """Return the number of digits of the largest decimal, its fraction included."""
    largest = pc.max(pc.abs(column)).as_py()
    return 0 if largest is None else len(largest.as_tuple().digits)
