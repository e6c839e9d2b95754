"""The snapshot of a bot's SQLite database: all rows, each digit, and no effect on the bot."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.bot_databases.sqlite import SqliteDatabase
from connectors.protocol import Connector
from recon.core.records import Coverage, Record, Session, Table, Window
from recon.errors import BotDatabaseError
from tests.conftest import AsNobody

NOW = datetime(2026, 5, 15, 2, 30, tzinfo=UTC)
DAY = Session(date(2026, 5, 14), NOW - timedelta(hours=26, minutes=30), NOW - timedelta(hours=2.5))
WINDOW = Window(DAY, DAY)


def books_of(path: Path, *, scratch: Path | None = None, timeout_s: float = 0.3) -> SqliteDatabase:
    return SqliteDatabase("btcq", path, now=lambda: NOW, busy_timeout_s=timeout_s, scratch=scratch)


def fetched(path: Path, *, scratch: Path | None = None) -> tuple[list[Record | Table], Coverage]:
    async def drain() -> list[Record | Table | Coverage]:
        return [item async for item in books_of(path, scratch=scratch).fetch(WINDOW)]

    *items, coverage = asyncio.run(drain())
    assert isinstance(coverage, Coverage)
    evidence = [item for item in items if not isinstance(item, Coverage)]
    assert len(evidence) == len(items)
    return evidence, coverage


def written(path: Path, *statements: str | tuple[str, tuple[Any, ...]]) -> Path:
    with closing(sqlite3.connect(path)) as bot:
        for statement in statements:
            if isinstance(statement, str):
                bot.execute(statement)
            else:
                bot.execute(*statement)
        bot.commit()
    return path


def columns_of(items: list[Record | Table], table: str) -> dict[str, str]:
    schemas = [item for item in items if isinstance(item, Record)]
    assert all(item.kind == "schema" for item in schemas)
    (found,) = [item for item in schemas if item.id == table]
    return dict(json.loads(found.payload)["columns"])


def rows_of(items: list[Record | Table], table: str) -> dict[str, dict[str, str | None]]:
    tables = [item for item in items if isinstance(item, Table)]
    (found,) = [item.batches for item in tables if item.kind == f"table:{table}"]
    assert {str(one.type) for one in found.schema} == {"string"}
    found.validate(full=True)
    assert found.column_names == ["id", *columns_of(items, table)]
    ids, *values = [column.to_pylist() for column in found.columns]
    assert len(set(ids)) == len(ids)
    names = found.column_names[1:]
    return {one: dict(zip(names, row, strict=True)) for one, *row in zip(ids, *values, strict=True)}


def counted(items: list[Record | Table]) -> int:
    return sum(item.batches.num_rows if isinstance(item, Table) else 1 for item in items)


def refusal(path: Path) -> str:
    """Return the reason of the refusal, which check gives too, with a remedy."""
    with pytest.raises(BotDatabaseError) as caught:
        fetched(path)
    (item,) = asyncio.run(books_of(path).check())
    assert not item.is_ok
    assert item.remedy
    assert str(caught.value) == f"{item.detail}: {item.remedy}"
    assert str(path) in item.detail
    return str(caught.value)


@pytest.fixture
def bot(tmp_path: Path) -> Path:
    return written(
        tmp_path / "bot.sqlite", "create table t (a integer)", "insert into t values (1)"
    )


def test_it_is_a_connector(bot: Path) -> None:
    connector: Connector = books_of(bot)
    assert (connector.venue, connector.account) == ("bot_database", "btcq")
    assert [promise.evidence for promise in connector.promises] == ["bot_database"]


def test_rows_columns_and_coverage(bot: Path) -> None:
    written(bot, "create table u (b text)", "create view v as select * from t")
    records, coverage = fetched(bot)
    assert rows_of(records, "t") == {"1": {"a": "1"}}
    assert rows_of(records, "u") == {}
    assert columns_of(records, "u") == {"b": "VARCHAR"}
    assert coverage == Coverage(
        evidence="bot_database",
        kinds=("schema", "table:t", "table:u"),
        status="complete",
        asked_from=WINDOW.start,
        asked_to=WINDOW.end,
        served_from=WINDOW.start,
        served_to=NOW,
        pages=1,
        rows=counted(records),
        is_snapshot=True,
    )


def test_check_names_the_tables(bot: Path) -> None:
    (item,) = asyncio.run(books_of(bot).check())
    assert item.is_ok
    assert item.detail.endswith("1 tables: t")


def test_a_live_wal_writer_is_read_whole_and_never_meets_a_lock(tmp_path: Path) -> None:
    path = written(tmp_path / "bot.sqlite", "pragma journal_mode = wal", "create table t (n int)")
    is_over = threading.Event()
    refused: list[sqlite3.Error] = []
    committed = [0]

    def trade() -> None:
        with closing(sqlite3.connect(path, timeout=0)) as bot:
            while not is_over.is_set():
                try:
                    bot.execute("insert into t values (?)", (committed[0] + 1,))
                    bot.commit()
                except sqlite3.Error as error:
                    refused.append(error)
                    return
                committed[0] += 1

    writer = threading.Thread(target=trade)
    writer.start()
    try:
        while committed[0] < 100:
            time.sleep(0.001)
        for _ in range(20):
            before = committed[0]
            rows = rows_of(fetched(path, scratch=tmp_path / "scratch")[0], "t")
            assert [int(row["n"] or 0) for row in rows.values()] == list(range(1, len(rows) + 1))
            assert len(rows) >= before
    finally:
        is_over.set()
        writer.join()
    assert refused == []


def test_rows_that_are_still_in_the_wal_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bot.sqlite"
    with closing(sqlite3.connect(path)) as bot:
        bot.execute("pragma journal_mode = wal")
        bot.execute("pragma wal_autocheckpoint = 0")
        bot.execute("create table t (n int)")
        bot.executemany("insert into t values (?)", [(n,) for n in range(100)])
        bot.commit()
        assert len(rows_of(fetched(path)[0], "t")) == 100


@pytest.mark.parametrize("is_given", [True, False])
def test_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_given: bool
) -> None:
    folder = tmp_path / "vault"
    folder.mkdir()
    path = written(
        folder / "bot.sqlite",
        "pragma journal_mode = wal",
        "create table t (n int)",
        "insert into t values (7)",
    )
    content = path.read_bytes()
    scratch = tmp_path / "scratch"
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    records, _ = fetched(path, scratch=scratch if is_given else None)
    assert rows_of(records, "t") == {"1": {"n": "7"}}
    assert [one.name for one in folder.iterdir()] == ["bot.sqlite"]
    assert path.read_bytes() == content
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        "a?mode=rwc.sqlite",
        "a#b.sqlite",
        "100%41.sqlite",
        'it\'s "quoted" .sqlite',
        "a&immutable=1",
        "ünï.db",
    ],
)
def test_hostile_paths(tmp_path: Path, name: str) -> None:
    assert "does not exist" in refusal(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    path = written(tmp_path / name, "create table t (a int)", "insert into t values (3)")
    assert rows_of(fetched(path)[0], "t") == {"1": {"a": "3"}}
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_symlink_is_refused_with_its_target(tmp_path: Path, bot: Path) -> None:
    link = tmp_path / "link.sqlite"
    link.symlink_to(bot)
    assert str(bot) in refusal(link)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is not a file" in refusal(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in refusal(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"pair,pnl\nBTC,1\n" * 400, "is not a SQLite database"),
        (b"SQLite format 3\0" + b"x" * 50, "is not a SQLite database"),
    ],
)
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "bot.sqlite"
    path.write_bytes(content)
    assert what in refusal(path)


def test_a_database_without_tables_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "bot.sqlite", "create table t (a)", "drop table t")
    assert "holds no table" in refusal(path)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_corruption_is_refused_never_read_in_part(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "bot.sqlite"
    many = [(f"{n:0100}",) for n in range(2_000)]
    with closing(sqlite3.connect(path)) as bot:
        bot.execute(f"pragma journal_mode = {journal}")
        bot.execute("create table t (a text)")
        bot.executemany("insert into t values (?)", many)
        bot.commit()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    assert "is corrupt" in refusal(path)


def test_a_row_that_breaks_the_bots_own_rules_is_no_corruption(tmp_path: Path) -> None:
    path = written(
        tmp_path / "bot.sqlite",
        "create table t (a integer check (a in (0, 1)))",
        "pragma ignore_check_constraints = on",
        "insert into t values (2)",
    )
    assert rows_of(fetched(path)[0], "t") == {"1": {"a": "2"}}


def test_a_file_without_permission_is_refused(bot: Path, as_nobody: AsNobody) -> None:
    bot.chmod(0)
    with as_nobody():
        assert "may not be read" in refusal(bot)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_held_lock_is_an_error_in_time(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "bot.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as bot:
        bot.execute(f"pragma journal_mode = {journal}")
        bot.execute("pragma locking_mode = exclusive")
        bot.execute("create table t (a int)")
        bot.execute("begin exclusive")
        bot.execute("insert into t values (1)")
        began = time.monotonic()
        assert "was locked for 0.3 s" in refusal(path)
        assert time.monotonic() - began < 5
        bot.execute("commit")
    assert len(rows_of(fetched(path)[0], "t")) == 1


def test_a_short_lock_is_waited_out(bot: Path) -> None:
    with closing(sqlite3.connect(bot, isolation_level=None, check_same_thread=False)) as held:
        held.execute("begin exclusive")
        held.execute("insert into t values (2)")
        timer = threading.Timer(0.1, lambda: held.execute("commit"))
        timer.start()
        assert len(rows_of(fetched(bot)[0], "t")) == 2
        timer.join()


def test_the_file_is_let_go_before_the_first_row(bot: Path) -> None:
    async def write_while_reading() -> None:
        async for _ in books_of(bot).fetch(WINDOW):
            with closing(sqlite3.connect(bot, timeout=0, isolation_level=None)) as writer:
                writer.execute("begin exclusive")
                writer.execute("commit")

    asyncio.run(write_while_reading())


def test_a_fetch_that_is_left_early_cleans_up(tmp_path: Path, bot: Path) -> None:
    scratch = tmp_path / "scratch"

    async def leave() -> None:
        fetch = books_of(bot, scratch=scratch).fetch(WINDOW)
        await anext(fetch)
        await fetch.aclose()  # an async generator, as it happens

    asyncio.run(leave())
    assert list(scratch.iterdir()) == []


VALUES: list[tuple[str, list[Any], str, list[str | None]]] = [
    ("integer", [1, -5, None, 2**63 - 1], "BIGINT", ["1", "-5", None, "9223372036854775807"]),
    ("float", [0.1, 1e-8, 1e16], "DECIMAL(38,8)", ["0.1", "0.00000001", "10000000000000000"]),
    ("float", [5.0, -2.0], "DECIMAL(38,0)", ["5.0", "-2.0"]),
    ("float", [5.5399999999999995e-06], "DECIMAL(38,22)", ["0.0000055399999999999995"]),
    ("", [1, 2.5], "DECIMAL(38,1)", ["1", "2.5"]),
    ("float", [1e20, 1e-20], "VARCHAR", ["1" + "0" * 20, "0." + "0" * 19 + "1"]),
    ("float", [1.5, "n/a"], "VARCHAR", ["1.5", "n/a"]),
    ("boolean", [0, 1, None], "BOOLEAN", ["0", "1", None]),
    ("boolean", [0, 2], "BIGINT", ["0", "2"]),
    ("integer", [0, 1], "BIGINT", ["0", "1"]),
    ("blob", [b"\x00\xff", None], "BLOB", ["00ff", None]),
    ("blob", [b"\x00\xff", "text"], "VARCHAR", ["00ff", "text"]),
    ("blob", [b"\x0f", 1], "VARCHAR", ["0f", "1"]),
    ("varchar", ["", "a\x00b", "ü€😀", None], "VARCHAR", ["", "a\x00b", "ü€😀", None]),
    ("bigint", [None], "BIGINT", [None]),
    ("float", [None], "DECIMAL(38,18)", [None]),
    ("numeric(10, 2)", [None], "DECIMAL(38,18)", [None]),
    ("boolean", [None], "BOOLEAN", [None]),
    ("datetime", [None], "VARCHAR", [None]),
]


@pytest.mark.parametrize(("declared", "values", "duckdb_type", "texts"), VALUES)
def test_values_keep_every_digit(
    tmp_path: Path, declared: str, values: list[Any], duckdb_type: str, texts: list[str | None]
) -> None:
    path = tmp_path / "bot.sqlite"
    written(path, f"create table t (a {declared})")
    written(path, *[("insert into t values (?)", (value,)) for value in values])
    records, _ = fetched(path)
    assert columns_of(records, "t") == {"a": duckdb_type}
    assert [row["a"] for row in rows_of(records, "t").values()] == texts


def test_an_infinite_number_names_its_place(tmp_path: Path) -> None:
    path = written(
        tmp_path / "bot.sqlite",
        "create table trades (id integer primary key, pnl float)",
        "insert into trades values (41, 1.0), (42, 9e999)",
    )
    with pytest.raises(
        BotDatabaseError, match=r"table trades, column pnl, row 42.*correct that row"
    ):
        fetched(path)


def test_text_that_is_no_utf8_is_shown_not_fatal(tmp_path: Path) -> None:
    path = written(
        tmp_path / "bot.sqlite",
        "create table t (a text)",
        "insert into t values (cast(x'41ff' as text))",
    )
    assert rows_of(fetched(path)[0], "t") == {"1": {"a": r"A\xff"}}


def test_without_rowid_the_primary_key_is_the_id(tmp_path: Path) -> None:
    path = written(
        tmp_path / "bot.sqlite",
        "create table t (a, b, n int, primary key (b, a)) without rowid",
        "insert into t values (1, 'x', 1), ('1', 'x', 2), ('x', '1', 3), (',', 'x', 4)",
    )
    rows = rows_of(fetched(path)[0], "t")
    assert {key: row["n"] for key, row in rows.items()} == {
        "'x',1": "1",
        "'x','1'": "2",
        "'1','x'": "3",
        "'x',','": "4",
    }


def test_a_column_named_rowid_is_a_column(tmp_path: Path) -> None:
    path = written(
        tmp_path / "bot.sqlite",
        "create table t (rowid text, _rowid_ text)",
        "insert into t values ('same', 'same'), ('same', 'same')",
    )
    assert list(rows_of(fetched(path)[0], "t")) == ["1", "2"]


def test_a_generated_column_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path / "bot.sqlite",
        "create table t (a int, b int as (a * 2))",
        "insert into t values (3)",
    )
    assert rows_of(fetched(path)[0], "t") == {"1": {"a": "3", "b": "6"}}


def test_hostile_names_do_nothing(tmp_path: Path) -> None:
    path = written(
        tmp_path / "bot.sqlite",
        'create table "weird ""name; drop" ("a""; drop table x; --" int, "" text)',
        'insert into "weird ""name; drop" values (1, \'x\')',
        "create table x (a int)",
        "create table sqlitely (a int)",
    )
    records, coverage = fetched(path)
    assert rows_of(records, 'weird "name; drop') == {"1": {'a"; drop table x; --': "1", "": "x"}}
    assert coverage.kinds == ("schema", "table:sqlitely", 'table:weird "name; drop', "table:x")


def test_many_rows_come_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "bot.sqlite"
    with closing(sqlite3.connect(path)) as bot:
        bot.execute("create table t (n int)")
        bot.executemany("insert into t values (?)", [(n,) for n in range(3_500)])
        bot.commit()
    records, coverage = fetched(path)
    assert [row["n"] for row in rows_of(records, "t").values()] == [str(n) for n in range(3_500)]
    assert coverage.rows == 3_501


def test_a_scratch_folder_that_cannot_be_made_is_an_error(tmp_path: Path, bot: Path) -> None:
    with pytest.raises(BotDatabaseError, match="cannot hold a copy of the bot database"):
        fetched(bot, scratch=bot / "scratch")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bot.sqlite"]
