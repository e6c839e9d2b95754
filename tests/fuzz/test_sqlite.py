"""SQLite of a bot, with odd values and broken anywhere: each value as it is, or a refusal."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from connectors.bot_databases.snapshot import TableRows
from connectors.bot_databases.sqlite import SqliteDatabase
from recon.core.sql_names import quoted
from recon.errors import BotDatabaseError
from tests.fuzz.books import LIMITS, Change, changes, rows, well_formed
from tests.fuzz.door import fuzzed
from tests.support.bots import NOW, snapshot

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)
TYPES = st.sampled_from(["", "integer", "real", "text", "blob", "boolean", "decimal(10,2)", "any"])
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_infinity=False, allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=6),
    st.binary(max_size=6),
)
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n)"
DEFECTS = [
    "alter table trades add column big as (zeroblob(1000000000))",
    "alter table trades add column long as (hex(zeroblob(5000)))",
    "alter table trades add column dozen as (1 + 11)",
    "create view broken as select * from nowhere",
    f"create view endless as {ENDLESS} select i from n",
    "create virtual table words using fts5(word)",
    "create table sqlean (a)",
    "insert into trades (rowid) values (9223372036854775807)",
    f"insert into trades (rowid) {ENDLESS} select 1000 + i from n limit 300",
    "update trades set rowid = -rowid",
    "pragma user_version = 7",
]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[tuple[str, str]], list[list[Any]]]:
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.lower))
    columns = [(name, draw(TYPES)) for name in names]
    line = st.lists(VALUES, min_size=len(names), max_size=len(names))
    return columns, draw(st.lists(line, max_size=5))


Made = tuple[list[tuple[str, str]], list[list[Any]]]


def written(path: Path, made: Made, *more: str) -> Path:
    columns, lines = made
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()
    declared = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns)
    with closing(sqlite3.connect(path, isolation_level=None)) as bot:
        bot.execute("pragma page_size = 512")
        bot.execute(f"create table trades ({declared})")
        marks = ", ".join("?" * len(columns))
        bot.executemany(f"insert into trades values ({marks})", lines)
        for statement in more:
            bot.execute(statement)
    return path


def told(path: Path) -> dict[str, TableRows] | None:
    books = SqliteDatabase(
        "bot", path, now=lambda: NOW, limits=LIMITS, is_wanted="trades".__eq__, scratch=path.parent
    )
    try:
        items = snapshot(books)
    except BotDatabaseError as error:
        str(error).encode()
        return None
    return well_formed(items)


def text_of(value: Any) -> Any:
    """Return what a value is as text: a number, where it is one."""
    if isinstance(value, int | float):
        return Decimal(repr(value))
    return value.hex() if isinstance(value, bytes) else value


def slowly(path: Path) -> list[list[Any]]:
    with closing(sqlite3.connect(path)) as books:
        return [[text_of(one) for one in row] for row in books.execute("select * from trades")]


def hold(path: Path, found: dict[str, TableRows]) -> None:
    read = [list(row.values()) for row in rows(found["trades"])]
    expected = slowly(path)
    assert len(read) == len(expected)
    for some, others in zip(read, expected, strict=True):
        for one, said in zip(some, others, strict=True):
            assert (Decimal(str(one)) if isinstance(said, Decimal) else one) == said


@fuzzed
@example(([("rowid", ""), ("oid", "")], [[1, "a\0b"]]))
@given(tables())
def test_each_value_is_as_it_is(tmp_path: Path, made: Made) -> None:
    path = written(tmp_path / "bot.sqlite", made)
    found = told(path)
    if found is None:
        assert {name.lower() for name, _ in made[0]} >= {"rowid", "oid", "_rowid_"}
    else:
        hold(path, found)


@fuzzed
@given(tables(), st.lists(st.sampled_from(DEFECTS), max_size=3, unique=True))
def test_an_odd_database_is_read_or_refused(tmp_path: Path, made: Made, more: list[str]) -> None:
    try:
        path = written(tmp_path / "bot.sqlite", made, *more)
    except sqlite3.Error:
        return  # SQLite refuses it as well
    found = told(path)
    if found is not None:
        hold(path, found)


@fuzzed
@given(tables(), changes(), st.sampled_from(["wal", "delete"]))
def test_a_broken_file_is_read_or_refused(
    tmp_path: Path, made: Made, change: Change, journal: str
) -> None:
    path = written(tmp_path / "bot.sqlite", made, f"pragma journal_mode = {journal}")
    path.write_bytes(change.of(path.read_bytes()))
    told(path)
