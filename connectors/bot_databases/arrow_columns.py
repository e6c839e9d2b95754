"""Typed Arrow columns, of one file or many, as text with the DuckDB type that holds all values."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from connectors.bot_databases.arrow_text import (
    Digits,
    floats_text,
    integers_text,
    lenient_utf8,
    plain_numbers,
)
from connectors.bot_databases.meter import NULL_BYTES, Meter
from recon.outside_text import storable

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
"""The kinds of a column's values. A DECIMAL has as many places as they need."""


@dataclass(slots=True)
class Texts:
    """A column as text (utf8), null for no value, with its kind and the digits of its numbers."""

    values: pa.ChunkedArray
    type: Kind = "VARCHAR"
    digits: Digits = field(default_factory=Digits)

    def duckdb_type(self) -> str:
        """Return the DuckDB type that holds every value exactly."""
        return self.digits.duckdb_type() if self.type == "DECIMAL" else self.type


class InfiniteError(ValueError):
    """A column holds an infinite number."""


class TwinsError(ValueError):
    """A structure has two fields of one name."""


def array_texts(values: pa.Array, digits: Digits) -> tuple[pa.Array, Kind]:
    """Return an array of any Arrow type as text that keeps each digit, and its kind.

    The digits are counted in `digits`. NaN is unknown: null. A value with parts (a list, a
    structure) is JSON whose numbers are text. Raises InfiniteError, TwinsError, and ArrowInvalid
    for a damaged array.
    """
    values = _plain_array(values)
    for is_one, kind, read in _READINGS:
        if is_one(values.type):
            return read(values, digits), kind
    try:
        return values.cast(pa.string()), "VARCHAR"
    except pa.ArrowNotImplementedError:
        said = [None if one is None else str(one) for one in values.to_pylist()]
        return pa.array(said, pa.string()), "VARCHAR"


def _plain_array(values: pa.Array) -> pa.Array:
    """Return the plain values of an encoded or extension array."""
    while isinstance(values, pa.ExtensionArray) or pa.types.is_dictionary(values.type):
        is_coded = pa.types.is_dictionary(values.type)
        values = values.dictionary_decode() if is_coded else values.storage
    return values


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
    return pa.array(map(_json, _objects(values)), pa.string())


def _objects(values: pa.Array) -> list[Any]:
    """Return values with parts as lists and dictionaries of text."""
    values = _plain_array(values)
    for is_one, read in _PARTS:
        if is_one(values.type):
            return read(values)
    return list(array_texts(values, Digits())[0].to_pylist())


def _structures(values: pa.StructArray) -> list[Any]:
    names = [field.name for field in values.type]
    if len(set(names)) < len(names):
        raise TwinsError
    fields = [_objects(values.field(place)) for place in range(len(names))]
    rows = zip(*fields, strict=True) if names else iter([()] * len(values))
    return [
        dict(zip(names, row, strict=True)) if one else None
        for row, one in zip(rows, _is_there(values), strict=True)
    ]


def _maps(values: pa.MapArray) -> list[Any]:
    if len(values.keys) != len(values.items):
        raise pa.ArrowInvalid(f"a map has {len(values.keys)} keys for {len(values.items)} values")
    pairs = zip(_objects(values.keys), _objects(values.items), strict=True)
    return _cut([list(pair) for pair in pairs], values)


def _lists(values: pa.ListArray) -> list[Any]:
    return _cut(_objects(values.values), values)


def _lists_of_one_size(values: pa.FixedSizeListArray) -> list[Any]:
    inner, size = _objects(values.values), values.type.list_size
    begins = range(values.offset * size, (values.offset + len(values)) * size, size or 1)
    starts = begins if size else [0] * len(values)
    return [
        inner[begin : begin + size] if one else None
        for begin, one in zip(starts, _is_there(values), strict=True)
    ]


def _cut(inner: list[Any], values: pa.Array) -> list[Any]:
    """Return the lists whose concatenated elements are `inner`."""
    offsets = values.offsets.to_pylist()
    return [
        inner[begin:end] if one else None
        for begin, end, one in zip(offsets[:-1], offsets[1:], _is_there(values), strict=True)
    ]


def _is_there(values: pa.Array) -> list[bool]:
    return list(values.is_valid().to_pylist())


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
    (
        lambda kind: (
            pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_string_view(kind)
        ),
        "VARCHAR",
        _words,
    ),
    (
        lambda kind: (
            pa.types.is_binary(kind)
            or pa.types.is_large_binary(kind)
            or pa.types.is_binary_view(kind)
            or pa.types.is_fixed_size_binary(kind)
        ),
        "BLOB",
        _hexadecimal,
    ),
]
"""How each Arrow type is read, and the resulting kind; the first match counts. The rest is text."""


_PARTS: Sequence[tuple[Callable[[pa.DataType], bool], Callable[[Any], list[Any]]]] = [
    (pa.types.is_struct, _structures),
    (pa.types.is_map, _maps),
    (pa.types.is_fixed_size_list, _lists_of_one_size),
    (lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind), _lists),
    (lambda kind: pa.types.is_boolean(kind) or pa.types.is_null(kind), pa.Array.to_pylist),
    (
        pa.types.is_nested,
        lambda values: [None if one is None else str(one) for one in values.to_pylist()],
    ),
]
"""How each Arrow type becomes Python's inside JSON; the first match counts. The rest is text."""


def json_text(value: object, meter: Meter) -> str | None:
    """Return a value with parts as one line of JSON whose numbers are text; None stays None.

    Raises UnreadableError for nesting beyond the limit.
    """
    return None if value is None else _json(_plain(value, meter, 1))


def _json(value: object) -> str | None:
    if value is None:
        return None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _plain(value: object, meter: Meter, depth: int) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, Mapping | list):
        meter.nesting("JSON", depth)
        if isinstance(value, list):
            return [_plain(part, meter, depth + 1) for part in value]
        return {name: _plain(part, meter, depth + 1) for name, part in value.items()}
    return value


def stacked(
    parts: Sequence[Mapping[str, Texts]], sizes: Sequence[int], meter: Meter
) -> dict[str, Texts]:
    """Return the concatenated columns of many files; `sizes` are their numbers of rows.

    A column that a file lacks is null there. A column with different types is a decimal if all are
    numbers, and text otherwise.
    """
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _stacked([part.get(name) for part in parts], sizes, meter) for name in names}


def _stacked(columns: Sequence[Texts | None], sizes: Sequence[int], meter: Meter) -> Texts:
    present = [column for column in columns if column is not None]
    chunks: list[pa.Array] = []
    for column, size in zip(columns, sizes, strict=True):
        if column is None:
            meter.hold(NULL_BYTES * size)
            chunks.append(pa.nulls(size, pa.string()))
        else:
            chunks += column.values.chunks
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
