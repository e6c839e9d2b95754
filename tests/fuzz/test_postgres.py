"""Rows of a bot's PostgreSQL database, of many types: each value as it is, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.bot_databases.postgres import PostgresReader
from recon.core.sql_names import quoted
from tests.fuzz.books import LIMITS, read, rows
from tests.fuzz.door import fuzzed
from tests.support.servers.postgres import PASSWORD, PostgresServer

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)
NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(100, 3000).map("9".__mul__),
    st.decimals(allow_nan=False, allow_infinity=False, places=30, max_value=10**20).map(str),
)
TYPES: dict[str, st.SearchStrategy[str]] = {
    "numeric": NUMBERS,
    "whole": st.integers(0, 10**30).map(str),
    "double precision": st.floats(allow_nan=False, allow_infinity=False).map(repr),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "text": WORDS,
    "word": WORDS,
    "text[]": st.lists(WORDS, max_size=2).map(
        lambda some: (
            "{"
            + ",".join('"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"' for one in some)
            + "}"
        )
    ),
    "bytea": st.binary(max_size=6).map(lambda one: f"\\x{one.hex()}"),
    "json": st.sampled_from(['{"a": "\\ud83d", "n": 1e999999999}', "[" * 50 + "]" * 50]),
    "date": st.sampled_from(["infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"]),
    "timestamptz": st.sampled_from(["infinity", "0044-03-15 BC", "2026-05-14 12:00+05:45"]),
    "interval": st.sampled_from(["1 year 2 days -3 hours", "0"]),
    "inet": st.just("::1"),
}
NOT_NUMBERS = ["NaN", "Infinity", "-Infinity"]
IS_NUMBER = ("numeric", "whole", "double precision", "bigint")


@pytest.fixture(scope="module")
def database(
    postgres: PostgresServer,
) -> Iterator[tuple[PostgresServer, str, psycopg.Connection[Any]]]:
    name = postgres.database("create domain whole as numeric(31)", "create domain word as text")
    with postgres.connected(name) as bot:
        bot.execute("alter default privileges in schema public grant select on tables to reader")
        yield postgres, name, bot


@st.composite
def tables(draw: st.DrawFn) -> list[tuple[str, str, list[str | None]]]:
    size = draw(st.integers(0, 4))
    columns = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.lower)):
        kind = draw(st.sampled_from(list(TYPES)))
        values = st.none() | TYPES[kind]
        if kind in {"numeric", "double precision"}:
            values |= st.sampled_from(NOT_NUMBERS)
        columns.append((name, kind, draw(st.lists(values, min_size=size, max_size=size))))
    return columns


@fuzzed
@given(tables())
@example(table=[("0", "double precision", ["5.515993866669538e+16"])])  # the server: …5384
def test_each_value_is_as_the_server_writes_it(
    database: tuple[PostgresServer, str, psycopg.Connection[Any]],
    table: list[tuple[str, str, list[str | None]]],
) -> None:
    server, name, bot = database
    bot.execute("drop table if exists trades")
    declared = ", ".join(f"{quoted(column)} {kind}" for column, kind, _ in table)
    bot.execute(f"create table trades ({declared})".encode())
    for line in zip(*(values for _, _, values in table), strict=True):
        marks = ", ".join(["%s"] * len(line))
        bot.execute(f"insert into trades values ({marks})".encode(), line, prepare=False)
    found = read(PostgresReader(server.url(name), PASSWORD, LIMITS))
    is_infinite = any(
        value in NOT_NUMBERS[1:]
        for _, kind, values in table
        if kind in IS_NUMBER
        for value in values
    )
    is_long = any(
        len(value or "") > 1000 * LIMITS.value_kb for _, _, values in table for value in values
    )
    assert (found is None) == (is_infinite or is_long)
    if found is None:
        return
    texts = ", ".join(
        f"encode({quoted(column)}, 'hex')" if kind == "bytea" else f"{quoted(column)}::text"
        for column, kind, _ in table
    )
    bot.execute("set timezone = 'UTC'")
    bot.execute("set datestyle = 'ISO'")
    expected = bot.execute(f"select {texts} from trades".encode(), prepare=False).fetchall()
    read_rows = [list(row.values()) for row in rows(found["trades"])]
    assert len(read_rows) == len(expected)
    for some, others in zip(read_rows, expected, strict=True):
        for (_, kind, _), one, said in zip(table, some, others, strict=True):
            if kind in IS_NUMBER and said is not None:
                assert one is None if said == "NaN" else Decimal(str(one)) == Decimal(said)
            else:
                assert one == said
