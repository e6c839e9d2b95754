"""A typed Arrow column, or one of many files, as text and the DuckDB type that holds all of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from connectors.arrow_text import Digits, floats_text, integers_text, lenient_utf8, plain_numbers

Kind = Literal[
    "BIGINT",
    "DECIMAL",
    "BOOLEAN",
    "BLOB",
    "DATE",
    "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE",
    "VARCHAR",
]
"""What the values of a column are. A DECIMAL has as many places as they need."""


@dataclass(slots=True)
class Texts:
    """A column as text (utf8), null where it has no value; its type, and its numbers' digits."""

    values: pa.ChunkedArray
    type: Kind = "VARCHAR"
    digits: Digits = field(default_factory=Digits)

    def duckdb_type(self) -> str:
        """Return the DuckDB type that holds every value, exactly."""
        return self.digits.duckdb_type() if self.type == "DECIMAL" else self.type


class InfiniteError(ValueError):
    """A column holds an infinite number."""


def texts(column: pa.ChunkedArray) -> Texts:
    """Return a column of any Arrow type as text, each digit kept.

    What is not a number (NaN) is unknown: null. What has parts (a list, a structure) is JSON whose
    numbers are text. Raises InfiniteError.
    """
    digits = Digits()
    read = [_texts(chunk, digits) for chunk in column.chunks or [pa.array([], column.type)]]
    return Texts(pa.chunked_array([chunk for chunk, _ in read], pa.string()), read[0][1], digits)


def _texts(values: pa.Array, digits: Digits) -> tuple[pa.Array, Kind]:
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    for is_one, kind, read in _READINGS:
        if is_one(values.type):
            return read(values, digits), kind
    return values.cast(pa.string()), "VARCHAR"


def _floats(values: pa.Array, digits: Digits) -> pa.Array:
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    known = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    if pc.any(pc.is_inf(known)).as_py():
        raise InfiniteError
    return floats_text(known, digits)


def _times(values: pa.Array, _digits: Digits) -> pa.Array:
    return values.cast(pa.timestamp(values.type.unit, "UTC")).cast(pa.string())


def _words(values: pa.Array, _digits: Digits) -> pa.Array:
    return lenient_utf8(values.cast(pa.binary()).view(pa.string()))


def _parts(values: pa.Array, _digits: Digits) -> pa.Array:
    return pa.array(map(json_text, values.to_pylist()), pa.string())


def _hexadecimal(values: pa.Array, _digits: Digits) -> pa.Array:
    return pa.array([one if one is None else one.hex() for one in values.to_pylist()], pa.string())


def _as_written(values: pa.Array, _digits: Digits) -> pa.Array:
    return values.cast(pa.string())


_READINGS: Sequence[
    tuple[Callable[[pa.DataType], bool], Kind, Callable[[pa.Array, Digits], pa.Array]]
] = [
    (pa.types.is_boolean, "BOOLEAN", _as_written),
    (pa.types.is_uint64, "DECIMAL", integers_text),
    (pa.types.is_integer, "BIGINT", integers_text),
    (pa.types.is_floating, "DECIMAL", _floats),
    (
        pa.types.is_decimal,
        "DECIMAL",
        lambda values, digits: plain_numbers(values.cast(pa.string()), digits),
    ),
    (
        lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,
        "TIMESTAMP WITH TIME ZONE",
        _times,
    ),
    (pa.types.is_timestamp, "TIMESTAMP", _as_written),
    (pa.types.is_date, "DATE", _as_written),
    (pa.types.is_nested, "VARCHAR", _parts),
    (lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind), "VARCHAR", _words),
    (
        lambda kind: (
            pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
            or pa.types.is_fixed_size_binary(kind)
        ),
        "BLOB",
        _hexadecimal,
    ),
]
"""How each type of Arrow's is read, and what it is then; the first that fits. The rest is text."""


def json_text(value: object) -> str | None:
    """Return a value that has parts as one line of JSON whose numbers are text; None stays None."""
    if value is None:
        return None
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}" if value == value else None  # noqa: PLR0124 - NaN
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def stacked(parts: Sequence[Mapping[str, Texts]], sizes: Sequence[int]) -> dict[str, Texts]:
    """Return the columns of many files as those of one, `sizes` rows of each, one below the other.

    A column that a file lacks is null there. Where its types differ it is a decimal if all are
    numbers, and text otherwise.
    """
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _stacked([part.get(name) for part in parts], sizes) for name in names}


def _stacked(columns: Sequence[Texts | None], sizes: Sequence[int]) -> Texts:
    present = [column for column in columns if column is not None]
    chunks = [
        chunk
        for column, size in zip(columns, sizes, strict=True)
        for chunk in (pa.nulls(size, pa.string()),) * (column is None)
        + tuple(column.values.chunks if column else ())
    ]
    digits = Digits(
        max(column.digits.whole for column in present),
        max(column.digits.places for column in present),
    )
    return Texts(pa.chunked_array(chunks, pa.string()), _common(present), digits)


def _common(columns: Sequence[Texts]) -> Kind:
    types = {one.type for one in columns if one.values.null_count < len(one.values)}
    if len(types) <= 1:
        return types.pop() if types else columns[0].type
    return "DECIMAL" if types <= {"BIGINT", "DECIMAL"} else "VARCHAR"
