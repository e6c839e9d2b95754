"""Parquet of a bot, of every type and broken anywhere: each value as it is, or a refusal."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from hypothesis import given, reject
from hypothesis import strategies as st
from pyarrow import parquet

from connectors.bot_databases.parquet_files import parse_parquet
from tests.fuzz.books import Change, Rows, changes, read_file, rows
from tests.fuzz.door import fuzzed

WORDS = st.text(st.characters(codec="utf-8"), max_size=6)
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
WIDE = Context(prec=80)


class Type(NamedTuple):
    """A type of Arrow's, values of it, and what each says: text, a number, or parts of these."""

    arrow: pa.DataType
    values: st.SearchStrategy[Any]
    said: Callable[[Any], Any]


def number(value: float | Decimal) -> Decimal | None:
    """Return the number that a value is, exactly; NaN is unknown."""
    if isinstance(value, float):
        return None if math.isnan(value) else Decimal(repr(value))
    return Decimal(value)


def decimals(kind: Callable[[int, int], pa.DataType], digits: int, places: int) -> Type:
    most = 10**digits - 1
    values = st.integers(-most, most).map(lambda one: Decimal(one).scaleb(-places, WIDE))
    return Type(kind(digits, places), values, number)


SIMPLE = [
    Type(pa.int64(), st.integers(-(2**63), 2**63 - 1), number),
    Type(pa.uint64(), st.integers(0, 2**64 - 1), number),
    Type(pa.int8(), st.integers(-128, 127), number),
    Type(pa.float64(), st.floats(allow_infinity=False), number),
    Type(pa.bool_(), st.booleans(), lambda one: str(one).lower()),
    Type(pa.string(), WORDS, str),
    Type(pa.large_string(), WORDS, str),
    Type(pa.string_view(), WORDS, str),
    Type(pa.dictionary(pa.int32(), pa.string()), WORDS, str),
    Type(pa.json_(), WORDS, str),
    Type(pa.binary(), st.binary(max_size=6), bytes.hex),
    Type(pa.binary_view(), st.binary(max_size=6), bytes.hex),
    Type(pa.binary(3), st.binary(min_size=3, max_size=3), bytes.hex),
    Type(pa.date32(), st.dates(), date.isoformat),
    Type(pa.timestamp("us"), TIMES, lambda one: one.isoformat(" ", "microseconds")),
    Type(
        pa.timestamp("us", "America/St_Johns"),
        TIMES.map(lambda one: one.replace(tzinfo=UTC)),
        lambda one: one.replace(tzinfo=None).isoformat(" ", "microseconds") + "Z",
    ),
    Type(pa.duration("ms"), st.none(), str),
    Type(pa.null(), st.none(), str),
    decimals(pa.decimal128, 38, 18),
    decimals(pa.decimal128, 38, 0),
    decimals(pa.decimal256, 76, 30),
    decimals(pa.decimal64, 18, 18),
]


def lists_of(one: Type) -> Type:
    values = st.lists(st.none() | one.values, max_size=3)
    return Type(pa.list_(one.arrow), values, lambda some: [say(one, part) for part in some])


def structures_of(one: Type) -> Type:
    values = st.fixed_dictionaries(
        {"é": st.none() | one.values, "n": st.none() | st.integers(0, 9)}
    )
    of = pa.struct([("é", one.arrow), ("n", pa.int16())])
    return Type(of, values, lambda some: {"é": say(one, some["é"]), "n": say(SIMPLE[0], some["n"])})


def maps_of(one: Type) -> Type:
    values = st.lists(st.tuples(WORDS, st.none() | one.values), max_size=3)
    of = pa.map_(pa.string(), one.arrow)
    return Type(of, values, lambda some: [[key, say(one, part)] for key, part in some])


def say(one: Type, value: Any) -> Any:
    return None if value is None else one.said(value)


PARTS = st.sampled_from([one for one in SIMPLE if one.arrow != pa.json_()])
NESTED = st.recursive(
    PARTS, lambda of: of.map(lists_of) | of.map(structures_of) | of.map(maps_of), max_leaves=3
)
TYPES = st.sampled_from(SIMPLE) | NESTED


class Column(NamedTuple):
    type: Type
    values: list[Any]


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Column]:
    size = draw(st.integers(0, 5))
    names = draw(
        st.lists(st.sampled_from("abc é\"'.") | WORDS, min_size=1, max_size=3, unique_by=str.lower)
    )
    columns = {}
    for name in names:
        one = draw(TYPES)
        values = draw(st.lists(st.none() | one.values, min_size=size, max_size=size))
        columns[name] = Column(one, values)
    return columns


def file(table: dict[str, Column], **options: Any) -> bytes:
    arrays = {name: pa.array(one.values, one.type.arrow) for name, one in table.items()}
    sink = pa.BufferOutputStream()
    try:
        parquet.write_table(pa.table(arrays), sink, **options)
    except (pa.ArrowNotImplementedError, pa.ArrowIndexError):
        reject()  # Arrow does not write some types inside others
    return bytes(sink.getvalue().to_pybytes())


def told(folder: Path, content: bytes) -> Rows | None:
    found = read_file(folder / "trades.parquet", content, parse_parquet)
    return None if found is None else rows(found["trades"])


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "use_dictionary": st.booleans(),
        "row_group_size": st.integers(1, 3),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "compression": st.sampled_from(["none", "zstd", "gzip"]),
        "store_schema": st.booleans(),
    },
)


@fuzzed
@given(tables(), OPTIONS)
def test_each_value_is_as_it_is(
    tmp_path: Path, table: dict[str, Column], options: dict[str, Any]
) -> None:
    found = told(tmp_path, file(table, **options))
    size = len(next(iter(table.values())).values)
    assert found is not None
    assert len(found) == size
    for name, column in table.items():
        for row, value in zip(found, column.values, strict=True):
            hold(row[name], say(column.type, value))


def hold(found: Any, said: Any) -> None:
    """Hold what is read against what is said."""
    if isinstance(said, list | dict) and isinstance(found, str):
        found = json.loads(found)
    if isinstance(said, Decimal):
        assert "e" not in found.lower()
        assert Decimal(found) == said
    elif isinstance(said, list):
        assert len(found) == len(said)
        for one, other in zip(found, said, strict=True):
            hold(one, other)
    elif isinstance(said, dict):
        assert found.keys() == said.keys()
        for name, one in said.items():
            hold(found[name], one)
    elif isinstance(found, bool):
        assert str(found).lower() == said
    else:
        assert found == said


@fuzzed
@given(tables(), OPTIONS, changes())
def test_a_broken_file_is_read_or_refused(
    tmp_path: Path, table: dict[str, Column], options: dict[str, Any], change: Change
) -> None:
    told(tmp_path, change.of(file(table, **options)))
