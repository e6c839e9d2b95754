"""What a bot's database may hold at most: more is refused, named, and never read into memory."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from connectors.bot_databases.snapshot import UnreadableError
from connectors.protocol import Connector
from recon.core.limits import Limits
from recon.core.records import Table
from recon.fetch.connectors_for import books_at
from tests.support.bots import NOW, snapshot
from tests.support.servers.postgres import PASSWORD, PostgresServer

SMALL = Limits(
    files=3, rows=50, columns=20, text_mb=1, value_kb=2, json_mb=1, json_values=500, nesting=10
)


def books(url: str, folder: Path, limits: Limits = SMALL) -> Connector:
    return books_at(url, folder, lambda: NOW, lambda _table: True, limits=limits)


def refusal(source: Connector) -> str:
    with pytest.raises(UnreadableError) as refused:
        snapshot(source)
    return str(refused.value)


def in_parquet(folder: Path, **columns: Any) -> str:
    with parquet.ParquetWriter(folder / "t.parquet", pa.table(columns).schema) as file:
        file.write_table(pa.table(columns))
    return "parquet:///t.parquet"


def in_sqlite(folder: Path, *statements: str) -> str:
    with closing(sqlite3.connect(folder / "t.sqlite")) as bot:
        for statement in statements:
            bot.execute(statement)
        bot.commit()
    return "sqlite:///t.sqlite"


def in_file(folder: Path, name: str, content: str) -> str:
    (folder / name).write_text(content)
    return f"{name.rpartition('.')[2].replace('jsonl', 'json')}:///{name}"


def numbers(count: int) -> str:
    return f"with recursive n(i) as (select 1 union all select i + 1 from n where i < {count})"


LONG = "x" * 3_000
DEEP = '{"a":' * 12 + "1" + "}" * 12
WIDE = [f"c{number}" for number in range(21)]


@pytest.mark.parametrize(
    ("setting", "name", "content"),
    [
        ("rows", "t.csv", "a\n" + "1\n" * 51),
        ("columns", "t.csv", ",".join(WIDE) + "\n"),
        ("value_kb", "t.csv", f"a,b\n{LONG},1\n"),
        ("text_mb", "t.csv", "a\n" + f"{'x' * 1_999}\n" * 600),
        ("rows", "t.json", json.dumps([{"a": 1}] * 51)),
        ("columns", "t.json", json.dumps([dict.fromkeys(WIDE, 1)])),
        ("value_kb", "t.json", json.dumps([{"a": LONG}])),
        ("json_mb", "t.json", json.dumps([{"a": "x" * 1_000_000}])),
        ("json_values", "t.json", json.dumps([{"a": [1] * 501}])),
        ("nesting", "t.json", f"[{DEEP}]"),
        ("rows", "t.jsonl", '{"a": 1}\n' * 51),
        ("json_values", "t.jsonl", json.dumps({"a": [1] * 501}) + "\n"),
    ],
)
def test_more_than_a_text_file_may_hold_is_refused(
    setting: str, name: str, content: str, tmp_path: Path
) -> None:
    limits = replace(SMALL, text_mb=10) if setting == "json_mb" else SMALL
    said = refusal(books(in_file(tmp_path, name, content), tmp_path, limits))
    assert f"{setting} = {getattr(SMALL, setting)} is the limit" in said
    assert f"raise {setting} under [recon.limits]" in said


@pytest.mark.parametrize(
    ("setting", "columns"),
    [
        ("rows", {"a": pa.array([7] * 51)}),
        ("columns", dict.fromkeys(WIDE, pa.array([1]))),
        ("value_kb", {"a": pa.array([LONG])}),
        ("text_mb", {"a": pa.array(["x" * 1_900] * 50), "b": pa.array([b"y" * 990_000] * 50)}),
        ("text_mb", {"a": pa.array([["x" * 1_900] * 600])}),
        ("text_mb", {"a": pa.array([[["x" * 1_900, str(n)] for n in range(300)]] * 2)}),
        ("json_values", {"a": pa.array([[1] * 501])}),
    ],
)
def test_more_than_a_parquet_file_may_hold_is_refused(
    setting: str, columns: dict[str, pa.Array], tmp_path: Path
) -> None:
    limits = replace(SMALL, json_values=5_000) if setting == "text_mb" else SMALL
    said = refusal(books(in_parquet(tmp_path, **columns), tmp_path, limits))
    assert f"{setting} = {getattr(limits, setting)} is the limit" in said


@pytest.mark.parametrize(
    ("setting", "statements"),
    [
        ("rows", ["create table t (a)", f"insert into t {numbers(51)} select i from n"]),
        ("columns", [f"create table t ({', '.join(WIDE)})"]),
        ("value_kb", ["create table t (a)", f"insert into t values ('{LONG}')"]),
        ("value_kb", ["create table t (a)", "insert into t values (zeroblob(1001))"]),
        ("text_mb", ["create table t (a)", "insert into t values (zeroblob(4000000))"]),
        (
            "text_mb",
            [
                "create table t (a, b as (zeroblob(900000)))",
                f"insert into t (a) {numbers(40)} select i from n",
            ],
        ),
    ],
)
def test_more_than_a_sqlite_file_may_hold_is_refused(
    setting: str, statements: list[str], tmp_path: Path
) -> None:
    limits = replace(SMALL, value_kb=10_000) if setting == "text_mb" else SMALL
    said = refusal(books(in_sqlite(tmp_path, *statements), tmp_path, limits))
    assert f"raise {setting} under [recon.limits]" in said


@pytest.mark.parametrize("setting", ["rows", "columns", "value_kb", "text_mb"])
def test_more_than_postgres_may_hold_is_refused(
    setting: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    endless = "create view t as select generate_series(1, 100000000000) as i"
    views = {
        "rows": endless,
        "columns": f"create table t ({', '.join(f'{one} int' for one in WIDE)})",
        "value_kb": "create view t as select repeat('x', 100000000) as a",
        "text_mb": f"{endless}, repeat('x', 1900) as a",
    }
    limits = replace(SMALL, rows=1_000_000) if setting == "text_mb" else SMALL
    url = postgres.url(postgres.database(views[setting]))
    began = time.monotonic()
    source = books_at(
        url, tmp_path, lambda: NOW, lambda _table: True, password=PASSWORD, limits=limits
    )
    assert f"raise {setting} under [recon.limits]" in refusal(source)
    assert time.monotonic() - began < 60


def test_a_folder_of_too_many_files_is_refused(tmp_path: Path) -> None:
    for number in range(4):
        in_file(tmp_path, f"t-{number}.csv", "a\n1\n")
    assert "has 4 files, and files = 3 is the limit" in refusal(books("csv:///", tmp_path))


@pytest.mark.parametrize("url", ["csv:///t.csv", "json:///t.json", "sqlite:///t.sqlite"])
def test_a_file_that_is_too_large_is_not_opened(url: str, tmp_path: Path) -> None:
    path = tmp_path / url.rpartition("/")[2]
    with path.open("wb") as file:
        file.write(b"SQLite format 3\0")
        file.truncate(10**12)  # of holes: it takes no room
    assert "has 1,000,000 MB" in refusal(books(url, tmp_path))


def test_files_whose_columns_differ_do_not_multiply(tmp_path: Path) -> None:
    for number in range(3):
        names = [f"c{number}_{one}" for one in range(10)]
        in_file(tmp_path, f"t-{number}.csv", ",".join(names) + "\n")
    assert "columns = 20 is the limit" in refusal(books("csv:///", tmp_path))


def test_time_is_limited(tmp_path: Path) -> None:
    url = in_sqlite(
        tmp_path,
        "create table t (a)",
        f"insert into t {numbers(20_000)} select i from n",
        "alter table t add column b as (length(replace(hex(zeroblob(100000 + a)), '0', 'ab')))",
    )
    began = time.monotonic()
    said = refusal(books(url, tmp_path, Limits(seconds=1)))
    assert "took longer than 1 s to read" in said
    assert "raise seconds under [recon.limits]" in said
    assert time.monotonic() - began < 30


def test_what_is_just_within_the_limits_is_read(tmp_path: Path) -> None:
    url = in_file(tmp_path, "t.csv", "a,b\n" + "1,2\n" * 49)
    assert [
        one.batches.num_rows for one in snapshot(books(url, tmp_path)) if isinstance(one, Table)
    ] == [49]
