"""A float of a bot's is one number in each kind of database, and the number that is written."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from recon.core.records import Table
from recon.fetch.connectors_for import books_at
from tests.support.bots import NOW, snapshot

FLOATS = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5)


def texts(url: str, folder: Path) -> list[str]:
    """Return what is read of the one column of a database."""
    [table] = [
        item
        for item in snapshot(books_at(url, folder, lambda: NOW, lambda _table: True))
        if isinstance(item, Table)
    ]
    return [str(one) for one in table.batches.column(1).to_pylist()]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FLOATS)
@example([55159938666695380.0, 1e16, 1e-7, -0.0])
def test_a_float_has_the_same_digits_in_each_kind_of_database(
    tmp_path: Path, floats: list[float]
) -> None:
    parquet.write_table(pa.table({"a": floats}), tmp_path / "t.parquet")
    with closing(sqlite3.connect(tmp_path / "t.sqlite")) as bot, bot:
        bot.execute("drop table if exists t")
        bot.execute("create table t (a real)")
        bot.executemany("insert into t values (?)", [(one,) for one in floats])
    (tmp_path / "t.csv").write_text("a\n" + "".join(f"{one!r}\n" for one in floats))
    (tmp_path / "t.json").write_text(json.dumps([{"a": one} for one in floats]))
    binary = texts("parquet:///t.parquet", tmp_path)
    unsigned = [one if float(one) else one.removeprefix("-") for one in binary]
    assert texts("sqlite:///t.sqlite", tmp_path) == unsigned  # it keeps no sign of a zero
    written = [repr(one) for one in floats]
    assert texts("csv:///t.csv", tmp_path) == written
    assert texts("json:///t.json", tmp_path) == written
    assert [Decimal(one) for one in binary] == [Decimal(one) for one in written]
