"""Recon's own functions for mappings, beside the macros of `sql/macros.sql`.

- `exact_product(a, b, …)`: see `recon/bot_databases/exact_product.py`.
- `exact_quotient(a, b)`: a / b, rounded once, half to even, to decimal(38, 18); null where either
  is unknown or b is 0. DuckDB's own `/` gives a DOUBLE.
- `average_cost(quantities, values)`: the realised PnL of each fill, for bot databases with fills
  and no PnL. Both are lists of decimal(38, 18), in the order of time: quantities are + when bought,
  values unsigned. It returns a list of structures, one for each fill: `closed` (the part of the
  quantity that closed a position), `gross` (its realised PnL before costs), `held` (the position
  after the fill). From the first fill with an unknown number on, all are null: the position is
  unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa

from recon.bot_databases.exact_product import exact_product, exact_products
from recon.core.numbers import PLACES, from_units, quotient, to_units
from recon.lots.book import Book

_MONEY = "DECIMAL(38, 18)"
_ARROW_MONEY = pa.decimal128(38, PLACES)
_CLOSED = pa.struct([(name, _ARROW_MONEY) for name in ("closed", "gross", "held")])


class MappingFunction(NamedTuple):
    """A function of whole columns; its parameters' DuckDB types by name, None for any type."""

    call: Callable[..., pa.Array]
    parameters: list[Any] | None
    returns: str


def exact_quotient(part: object, whole: object) -> Decimal | None:
    """Return part / whole to 18 places; None where either is unknown or `whole` is 0."""
    above, below = exact_product(part), exact_product(whole)
    return quotient(above, below) if above is not None and below else None


def average_cost(
    quantities: Sequence[Decimal | None] | None, values: Sequence[Decimal | None] | None
) -> list[dict[str, Decimal] | None] | None:
    """Return what each fill closed and realised at average cost, as the lots program computes it.

    Raises ValueError for lists of different lengths, and for a fill without a quantity.
    """
    if quantities is None or values is None:
        return None
    if len(quantities) != len(values):
        raise ValueError("average_cost: the lists differ in length: give a value for each quantity")
    book = Book("average")
    found: list[dict[str, Decimal] | None] = []
    for qty, value in zip(quantities, values, strict=True):
        if qty is None or value is None:
            break
        realised = book.fill(to_units(qty), to_units(value), 0)
        units = {"closed": realised.closed_qty, "gross": realised.gross, "held": book.qty}
        found.append({name: from_units(one) for name, one in units.items()})
    return found + [None] * (len(quantities) - len(found))


def _exact_quotients(parts: pa.ChunkedArray, wholes: pa.ChunkedArray) -> pa.Array:
    rows = zip(parts.to_pylist(), wholes.to_pylist(), strict=True)
    return pa.array([exact_quotient(*row) for row in rows], _ARROW_MONEY)


def _average_costs(quantities: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.Array:
    rows = zip(quantities.to_pylist(), values.to_pylist(), strict=True)
    return pa.array([average_cost(*row) for row in rows], pa.list_(_CLOSED))


MAPPING_FUNCTIONS = {
    "exact_product": MappingFunction(exact_products, None, _MONEY),
    "exact_quotient": MappingFunction(_exact_quotients, [_MONEY, _MONEY], _MONEY),
    "average_cost": MappingFunction(
        _average_costs,
        [f"{_MONEY}[]", f"{_MONEY}[]"],
        f"STRUCT(closed {_MONEY}, gross {_MONEY}, held {_MONEY})[]",
    ),
}
