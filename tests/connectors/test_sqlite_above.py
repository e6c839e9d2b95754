"""Bot databases above a watermark: rows that may have changed are read, and all rows in doubt."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.bot_databases.sqlite import SqliteDatabase
from recon.core.records import Coverage, Record, Session, Table, Window
from recon.core.watermarks import Above, Watermarks, read_watermarks
from recon.errors import BotDatabaseError

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
START = datetime(2026, 5, 7, tzinfo=UTC)
NOW = datetime(2026, 5, 15, 2, 30, tzinfo=UTC)
S = int(START.timestamp())


def session(start: datetime) -> Session:
    return Session(date(2026, 5, 14), start, start + timedelta(days=1))


def books(path: Path, lines: str, start: datetime = START) -> list[Record | Table | Coverage]:
    above = Above(BEGINNING, lambda _columns: read_watermarks({Path("trades.sql"): lines}))

    async def drain() -> list[Record | Table | Coverage]:
        source = SqliteDatabase("btcq", path, now=lambda: NOW, above=above)
        window = Window(session(start), session(NOW.replace(hour=0, minute=0)))
        return [item async for item in source.fetch(window)]

    return asyncio.run(drain())


def ids(items: list[Record | Table | Coverage], table: str) -> list[str]:
    (found,) = [one for one in items if isinstance(one, Table) and one.kind == f"table:{table}"]
    return list(found.batches.column(0).to_pylist())


def coverage(items: list[Record | Table | Coverage]) -> list[Coverage]:
    return [item for item in items if isinstance(item, Coverage)]


def written(path: Path, statements: list[str | tuple[str, list[tuple[Any, ...]]]]) -> Path:
    with closing(sqlite3.connect(path)) as bot:
        for statement in statements:
            if isinstance(statement, str):
                bot.execute(statement)
            else:
                bot.executemany(*statement)
        bot.commit()
    return path


TEXTS: list[tuple[Any, bool]] = [
    (None, True),
    ("2026-05-06 23:59:59.999999", False),
    ("2026-05-06T23:59:59Z", False),
    ("2026-05-07 00:00:00", True),
    ("2026-05-07 01:59:59+02:00", False),
    ("2026-05-07 02:00:00+02:00", True),
    ("2026-05-06 23:00:00-02:00", True),
    ("2026-05-06", True),
    ("2026-05-06 23:59", True),
    ("2026-13-45 00:00:00", True),
    ("06/05/2026 12:00:00", True),
    ("yesterday", True),
    ("", True),
    ("now", True),
    ("2460000.5", True),
    ("1970-01-01 00:00:00", True),
    (S - 1, True),
    (1.5, True),
    (b"2026-05-06 00:00:00", True),
    ("2026-05-06 00:00:00 and more", True),
]
SECONDS: list[tuple[Any, bool]] = [
    (None, True),
    (S - 1, False),
    (S - 0.001, False),
    (S, True),
    (S + 0.5, True),
    (0, True),
    (-1, True),
    ("2026-05-06 00:00:00", True),
    (str(S - 1), True),
    ((S - 1) * 1_000, True),
]
MILLISECONDS: list[tuple[Any, bool]] = [
    (None, True),
    (S * 1_000 - 1, False),
    (S * 1_000, True),
    (S - 1, True),
    (0, True),
    (b"1", True),
]


@pytest.mark.parametrize(
    ("form", "values"), [("text", TEXTS), ("epoch_s", SECONDS), ("epoch_ms", MILLISECONDS)]
)
def test_what_certainly_was_written_before_is_left_out(
    tmp_path: Path, form: str, values: list[tuple[Any, bool]]
) -> None:
    create = "create table t (id integer primary key, at)"
    rows = [(value,) for value, _ in values]
    path = written(tmp_path / "b", [create, ("insert into t (at) values (?)", rows)])
    wanted = [str(n) for n, (_, is_read) in enumerate(values, 1) if is_read]
    assert ids(books(path, f"-- watermark: t(at) {form}"), "t") == wanted
    assert len(ids(books(path, f"-- watermark: t(at) {form}", BEGINNING), "t")) == len(values)


TRADES = [
    "create table Trades (id integer primary key, closed text, pnl float)",
    "create table orders (id integer primary key, trade int, price float)",
    "create table notes (id integer primary key, at text)",
    "insert into Trades values (1, '2026-05-01 00:00:00', 0.1), (2, '2026-05-08 00:00:00', 2.0)",
    "insert into Trades values (3, null, null), (4, '2026-05-01 00:00:00', 1e-9)",
    "insert into orders values (11, 1, 1.0), (12, 2, 1), (13, 3, 1.0), (14, 4, 1.0)",
    "insert into orders values (15, null, 1.0), (16, 99, 1.0), (17, '2', 1.0)",
    "insert into notes values (21, '2026-05-01 00:00:00')",
]
LINES = "-- watermark: trades(closed) text\n-- unit: orders(trade) trades(id)"


def test_a_unit_is_read_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    items = books(written(tmp_path / "b", list(TRADES)), LINES)
    assert ids(items, "Trades") == ["2", "3"]
    assert ids(items, "orders") == ["12", "13", "15", "16", "17"]
    assert ids(items, "notes") == ["21"]


def test_each_statement_says_what_was_read_how(tmp_path: Path) -> None:
    items = books(written(tmp_path / "b", list(TRADES)), LINES)
    whole, above = coverage(items)
    assert (whole.kinds, whole.is_snapshot, whole.rows) == (("schema", "table:notes"), True, 4)
    assert (above.kinds, above.is_snapshot, above.rows) == (
        ("table:Trades", "table:orders"),
        False,
        7,
    )
    for one in (whole, above):
        assert (one.status, one.served_from, one.served_to) == ("complete", START, NOW)
    assert items[-2:] == [whole, above]


@pytest.mark.parametrize("start", [BEGINNING, BEGINNING - timedelta(days=9)])
def test_from_the_beginning_all_is_read_and_is_a_snapshot(tmp_path: Path, start: datetime) -> None:
    items = books(written(tmp_path / "b", list(TRADES)), LINES, start)
    (whole,) = coverage(items)
    assert whole.is_snapshot
    assert whole.kinds == ("schema", "table:Trades", "table:notes", "table:orders")
    assert whole.rows == 4 + 7 + 1 + 3


def test_any_row_of_a_unit_has_all_of_it_read(tmp_path: Path) -> None:
    lines = "-- watermark: trades(closed) text\n-- watermark: changes(at) text\n"
    path = written(
        tmp_path / "b",
        [
            *TRADES,
            "create table changes (id integer primary key, at text, trade int)",
            "insert into changes values (31, '2026-05-01 00:00:00', 4), (32, null, 4)",
            "insert into changes values (33, '2026-05-01 00:00:00', 1)",
            "insert into changes values (34, '2026-05-01 00:00:00', 2)",
            "insert into changes values (35, '2026-05-01 00:00:00', null)",
        ],
    )
    items = books(path, f"{lines}-- unit: trades(id) changes(trade) orders(trade)")
    assert ids(items, "Trades") == ["2", "3", "4"]
    assert ids(items, "changes") == ["31", "32", "34", "35"]
    assert ids(items, "orders") == ["12", "13", "14", "15", "16", "17"]


def test_ids_that_may_change_are_read_whole(tmp_path: Path) -> None:
    path = written(
        tmp_path / "b",
        [
            "create table t (name text primary key, at text)",
            "insert into t values ('a', '2026-05-01 00:00:00'), ('b', null)",
        ],
    )
    items = books(path, "-- watermark: t(at) text")
    assert ids(items, "t") == ["1", "2"]
    assert [one.is_snapshot for one in coverage(items)] == [True]


def test_types_are_those_of_the_whole_table(tmp_path: Path) -> None:
    path = written(
        tmp_path / "b",
        [
            "create table t (id integer primary key, at text, a, b boolean, c)",
            "insert into t values (1, '2026-05-01 00:00:00', 'x', 2, 1.5), (2, null, 1, 1, 7)",
        ],
    )
    (schema,) = [one for one in books(path, "-- watermark: t(at) text") if isinstance(one, Record)]
    assert json.loads(schema.payload)["columns"] == [
        ["id", "BIGINT"],
        ["at", "VARCHAR"],
        ["a", "VARCHAR"],
        ["b", "BIGINT"],
        ["c", "DECIMAL(38,0)"],
    ]


@pytest.mark.parametrize(
    ("lines", "lacking"),
    [
        ("-- watermark: trades(close_dat) text", r"trades\.close_dat"),
        ("-- watermark: deals(closed) text", r"deals\.closed"),
        (f"{LINES}\n-- watermark: notes(at) text\n-- unit: notes(trade)", r"notes\.trade"),
    ],
)
def test_a_watermark_that_is_not_there_is_an_error(
    tmp_path: Path, lines: str, lacking: str
) -> None:
    path = written(tmp_path / "b", list(TRADES))
    with pytest.raises(
        BotDatabaseError, match=f"watermarks need {lacking}, which this database lacks"
    ):
        books(path, lines)


def test_the_columns_decide_which_watermarks(tmp_path: Path) -> None:
    asked: list[dict[str, list[str]]] = []

    def watermarks(columns: Any) -> Watermarks:
        asked.append(dict(columns))
        return read_watermarks({})

    path = written(tmp_path / "b", list(TRADES))
    source = SqliteDatabase(
        "btcq",
        path,
        now=lambda: NOW,
        is_wanted=lambda table: table != "notes",
        above=Above(BEGINNING, watermarks),
    )

    async def drain(start: datetime) -> None:
        async for _ in source.fetch(Window(session(start), session(START))):
            pass

    asyncio.run(drain(BEGINNING))
    assert asked == []
    asyncio.run(drain(START))
    assert asked == [{"Trades": ["id", "closed", "pnl"], "orders": ["id", "trade", "price"]}]
