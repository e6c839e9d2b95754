"""Whole tables as Arrow text: each value and each type as reading row by row would say it."""

from __future__ import annotations

import gc
import sqlite3
import struct
from collections.abc import Iterable, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connectors.bot_databases.arrow_text import Digits, floats_text, lenient_text
from connectors.bot_databases.meter import Meter
from connectors.bot_databases.sqlite_tables import has_lasting_ids, read_table
from recon.core.sql_names import quoted
from recon.errors import BotDatabaseError
from tests.fuzz.door import INPUTS

Value = None | int | float | str | bytes
Told = tuple[list[list[str | None]], list[tuple[str, str]]]


def text_of(value: Value) -> str | None:
    """Return a value's text, the slow and obvious way."""
    if value is None:
        return None
    if isinstance(value, float):
        plain = repr(value)
        return f"{Decimal(plain):f}" if "e" in plain else plain
    return value.hex() if isinstance(value, bytes) else str(value)


def type_of(declared: str, values: Sequence[Value]) -> str:
    """Return a column's DuckDB type, the slow and obvious way."""
    found = {type(value) for value in values if value is not None}
    is_number = bool(found & {int, float})
    if str in found or (bytes in found and is_number):
        return "VARCHAR"
    if bytes in found:
        return "BLOB"
    if float in found:
        parts = [(text_of(one) or "").lstrip("-").partition(".") for one in values]
        whole = max(len(one.lstrip("0")) for one, _, _ in parts)
        places = max(len(one.rstrip("0")) for _, _, one in parts)
        return f"DECIMAL(38,{places})" if whole + places <= 38 else "VARCHAR"
    if "BOOL" in declared.upper() and set(values) <= {0, 1, None}:
        return "BOOLEAN"
    if is_number or "INT" in declared.upper():
        return "BIGINT"
    is_decimal = any(word in declared.upper() for word in ("REAL", "FLOA", "DOUB", "NUM", "DEC"))
    return "DECIMAL(38,18)" if is_decimal else "VARCHAR"


def row_by_row(path: Path, table: str, key: str = "rowid") -> Told:
    """Read a table as Python values, one by one: what reading it at once must come to."""
    with closing(sqlite3.connect(path)) as books:
        books.text_factory = lenient_text
        info = books.execute("select name, type from pragma_table_xinfo(?)", (table,)).fetchall()
        rows = books.execute(f"select {key}, * from {quoted(table)} not indexed").fetchall()
    ids, *columns = zip(*rows, strict=True) if rows else [()] * (len(info) + 1)
    keys: list[str | None] = [str(one) for one in ids]
    texts = [keys, *([text_of(value) for value in column] for column in columns)]
    types = [(name, type_of(of, values)) for (name, of), values in zip(info, columns, strict=True)]
    return texts, types


def at_once(path: Path, table: str, where: str = "1") -> Told:
    with closing(sqlite3.connect(path)) as books:
        books.text_factory = lenient_text
        found = read_table(books, path, table, meter=Meter(path), where=where)
    found.rows.validate(full=True)
    return [column.to_pylist() for column in found.rows.columns], found.columns


def written(path: Path, create: str, rows: Iterable[Sequence[Value]] = (), *more: str) -> Path:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as bot:
        bot.execute(create)
        for row in rows:
            bot.execute(f"insert into t values ({', '.join('?' * len(row))})", tuple(row))
        for statement in more:
            bot.execute(statement)
        bot.commit()
    return path


NUMBERS: list[Value] = [
    0.1 + 0.2, 1e-07, 1.5e-07, 5e-324, 1e15, 1e16, 1e22, 1.7976931348623157e308, -0.0, 5.0,
    14526433009.55706, 4503599627370497.5, 9999999999999998.0, 123456789.0, -1e-05, 2**63 - 1,
    -(2**63), 0, 2**53 + 1,
]  # fmt: skip


def test_every_float_is_the_shortest_decimal_that_is_it() -> None:
    wanted = [one for one in NUMBERS if isinstance(one, float)]
    found = floats_text(pa.array([*wanted, None]), Digits())
    assert found.to_pylist() == [*map(text_of, wanted), None]


@settings(max_examples=300)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none()))
def test_any_floats(values: list[float | None]) -> None:
    digits = Digits()
    texts = floats_text(pa.array(values, pa.float64()), digits).to_pylist()
    assert texts == [text_of(value) for value in values]
    parts = [text.lstrip("-").partition(".") for text in texts if text is not None]
    assert digits.whole == max((len(one.lstrip("0")) for one, _, _ in parts), default=0)
    assert digits.places == max((len(one.rstrip("0")) for _, _, one in parts), default=0)


def test_many_bit_patterns() -> None:
    seeds = range(0x3F00_0000_0000_0000, 0x44FF_0000_0000_0000, 0x0000_0D0B_1234_5677)
    values = [struct.unpack("d", seed.to_bytes(8, "little"))[0] for seed in seeds]
    assert floats_text(pa.array(values), Digits()).to_pylist() == [text_of(one) for one in values]


@pytest.mark.parametrize("declared", ["", "float", "integer", "numeric", "text", "blob", "boolean"])
def test_numbers_of_every_kind(tmp_path: Path, declared: str) -> None:
    path = written(tmp_path / "b", f"create table t (a {declared})", [[one] for one in NUMBERS])
    assert at_once(path, "t") == row_by_row(path, "t")


def test_a_column_may_change_its_mind_at_any_row(tmp_path: Path) -> None:
    rows: list[list[Value]] = [[None, 1, 1.5, "x", b"\0"] for _ in range(20_000)]
    rows += [[1.5, "late", 7, b"\xff", "a\x00b"], [2**63 - 1, 2.5, "now", None, None]]
    path = written(tmp_path / "b", "create table t (a, b, c, d, e)", rows)
    texts, types = at_once(path, "t")
    assert [column[-2:] for column in texts[1:]] == [
        ["1.5", "9223372036854775807"],
        ["late", "2.5"],
        ["7", "now"],
        ["ff", None],
        ["a\x00b", None],
    ]
    assert types == [
        ("a", "DECIMAL(38,1)"),
        ("b", "VARCHAR"),
        ("c", "VARCHAR"),
        ("d", "VARCHAR"),
        ("e", "VARCHAR"),
    ]
    assert (texts, types) == row_by_row(path, "t")


def test_a_column_named_as_the_key_is_a_column(tmp_path: Path) -> None:
    path = written(tmp_path / "b", "create table t (c0, id text)", [["a", "x"], ["b", "y"]])
    assert at_once(path, "t")[0] == [["1", "2"], ["a", "b"], ["x", "y"]]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = written(
        tmp_path / "b",
        "create table t (a text, k text primary key) without rowid",
        [["fine", "1"]],
        "insert into t values (cast(x'41ff' as text), cast(x'eda080' as text))",
        "insert into t values (null, 'ü')",
    )
    texts, _ = at_once(path, "t")
    assert texts[0] == ["'1'", "'ü'", r"'\xed\xa0\x80'"]
    assert texts[1:] == [["fine", None, r"A\xff"], ["1", "ü", r"\xed\xa0\x80"]]


def test_an_index_which_may_be_broken_is_not_asked(tmp_path: Path) -> None:
    rows: list[list[Value]] = [["b"], ["a"], ["c"]]
    path = written(tmp_path / "b", "create table t (a text)", rows, "create index i on t (a)")
    assert at_once(path, "t")[0] == [["1", "2", "3"], ["b", "a", "c"]]


def test_the_class_of_a_value_that_is_not_read_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "b", "create table t (a)", [["n/a"], [1], [2.5]])
    assert at_once(path, "t", "a = 1") == ([["2"], ["1"]], [("a", "VARCHAR")])


def test_nothing_is_left_open_where_reading_stops(tmp_path: Path) -> None:
    path = written(tmp_path / "b", "create table t (a)", [[1.0], [float("inf")], [2.0]])
    with pytest.raises(BotDatabaseError, match="infinite number"):
        at_once(path, "t")
    path = written(tmp_path / "c", "create table t (a)", [[1]])
    with pytest.raises(sqlite3.DatabaseError, match="nope"):
        at_once(path, "t", "nope > 1")
    gc.collect()  # what is left open warns, and a warning fails


@pytest.mark.parametrize(
    ("columns", "is_lasting"),
    [
        ("a integer primary key, b", True),
        ("a text primary key, b", False),
        ("a integer primary key desc, b", False),
        ("a, b", False),
        ("a, b, primary key (a, b)", False),
        ("rowid integer primary key, b", True),
    ],
)
def test_ids_that_a_vacuum_may_change(tmp_path: Path, columns: str, *, is_lasting: bool) -> None:
    path = written(tmp_path / "b", f"create table t ({columns})")
    without = written(tmp_path / "c", "create table t (a text primary key, b) without rowid")
    with closing(sqlite3.connect(path)) as books, closing(sqlite3.connect(without)) as others:
        assert has_lasting_ids(books, "t") is is_lasting
        assert has_lasting_ids(others, "t")


VALUES = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
DECLARED = st.sampled_from(
    ["", "integer", "float", "boolean", "varchar(9)", "datetime", "blob", "numeric(9, 2)"]
)
TABLES = st.dictionaries(NAMES.map(str.lower), DECLARED, min_size=1, max_size=8).flatmap(
    lambda columns: st.tuples(
        st.just(columns), st.lists(st.tuples(*[VALUES for _ in columns]), max_size=12)
    )
)


@example(({"true": ""}, [(None,)]))
@settings(
    deadline=None,
    max_examples=INPUTS // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(TABLES)
def test_any_table_is_as_row_by_row(
    tmp_path: Path, table: tuple[dict[str, str], list[tuple[Value, ...]]]
) -> None:
    columns, rows = table
    if {"rowid", "_rowid_", "oid"} & columns.keys():
        return
    declared = ", ".join(f"{quoted(name)} {of}" for name, of in columns.items())
    path = written(tmp_path / "b", f"create table t ({declared})", rows)
    assert at_once(path, "t") == row_by_row(path, "t")
