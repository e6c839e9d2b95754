from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.core.coverage import Interval
from recon.core.records import Coverage, Record, Table
from recon.core.sql_names import quoted
from recon.warehouse.database import LANDED_AT_ONCE, LANDING_MEMORY, Again, Warehouse, build_order

T0, T1 = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with Warehouse(tmp_path / "warehouse.duckdb") as opened:
        yield opened


def land(warehouse: Warehouse, *items: Record | Coverage, account: str = "a") -> None:
    with warehouse.transaction():
        warehouse.land("run", "okx", account, items, T0)


def snapshot(*kinds: str, status: str = "complete") -> Coverage:
    return Coverage("positions", kinds, status, T0, T1, T0, T1, is_snapshot=True, reason="why")  # type: ignore[arg-type]


def versions(warehouse: Warehouse) -> list[tuple[str, int, str | None]]:
    rows = warehouse.rows("select id, version, payload from raw.records order by all")
    return [(row["id"], row["version"], row["payload"]) for row in rows]


def test_a_second_fetch_of_the_same_adds_nothing_and_a_change_adds_a_version(
    warehouse: Warehouse,
) -> None:
    land(warehouse, Record("fill", "1", '{"px":"1"}'), Record("fill", "2", '{"px":"2"}'))
    land(warehouse, Record("fill", "1", '{"px":"1"}'), Record("fill", "2", '{"px":"3"}'))
    assert versions(warehouse) == [
        ("1", 1, '{"px":"1"}'),
        ("2", 1, '{"px":"2"}'),
        ("2", 2, '{"px":"3"}'),
    ]


def test_accounts_and_kinds_are_part_of_the_key(warehouse: Warehouse) -> None:
    land(warehouse, Record("fill", "1", "{}"), Record("bill", "1", "{}"))
    land(warehouse, Record("fill", "1", "{}"), account="b")
    assert warehouse.rows("select count(*) as n from raw.current") == [{"n": 3}]


def test_what_a_snapshot_no_longer_holds_is_gone_and_may_return(warehouse: Warehouse) -> None:
    land(warehouse, Record("position", "x", "{}"), Record("fill", "1", "{}"), snapshot("position"))
    land(warehouse, snapshot("position"))
    assert [row["id"] for row in warehouse.rows("from raw.current")] == ["1"]
    land(warehouse, snapshot("position"))
    land(warehouse, Record("position", "x", "{}"), snapshot("position"))
    assert versions(warehouse)[1:] == [("x", 1, "{}"), ("x", 2, None), ("x", 3, "{}")]


def test_a_snapshot_that_failed_buries_nothing(warehouse: Warehouse) -> None:
    land(warehouse, Record("position", "x", "{}"), snapshot("position"))
    land(warehouse, snapshot("position", status="failed"))
    assert len(warehouse.rows("from raw.current")) == 1


def test_what_was_served_is_remembered(warehouse: Warehouse) -> None:
    statement = Coverage("fills", ("fill",), "partial", T0, T1, T0, T1, reason="why")
    land(warehouse, statement)
    land(warehouse, Coverage("fills", ("fill",), "failed", T0, T1, T0, T1, reason="why"))
    assert warehouse.served("okx", "a", "fills", "fill") == [Interval(T0, T1)]


def test_a_transaction_is_all_or_nothing(warehouse: Warehouse) -> None:
    def fail_after_landing() -> None:
        with warehouse.transaction():
            warehouse.land("run", "okx", "a", [Record("fill", "1", "{}")], T0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_landing()
    assert versions(warehouse) == []


def test_it_reads_no_file_and_cannot_be_told_to(warehouse: Warehouse) -> None:
    for statement in (
        "from read_text('/etc/hostname')",
        "copy (select 1) to '/tmp/out'",
        "set enable_external_access = true",
        "attach '/tmp/other.duckdb'",
    ):
        with pytest.raises(duckdb.Error):
            warehouse.rows(statement)


def test_queries_are_built_after_what_they_read(warehouse: Warehouse) -> None:
    for folder in ("staging", "lots", "pnl", "proofs", "breaks"):
        texts = dict(warehouse.queries(folder))
        order = build_order(folder, texts)
        assert sorted(order) == sorted(texts)
        for name, text in texts.items():
            for other in texts:
                if other != name and f"{folder}.{other}\n" in text:
                    assert order.index(other) < order.index(name)
    with pytest.raises(ValueError, match="read each other"):
        build_order("x", {"a": "from x.b", "b": "from x.a"})


@given(st.text(min_size=1, max_size=20).filter(lambda name: "\0" not in name))
def test_any_name_can_be_an_identifier(name: str) -> None:
    with duckdb.connect() as database:
        database.execute(f"create table {quoted(name)} (x int)")
        assert database.execute("select table_name from duckdb_tables()").fetchall() == [(name,)]


def test_exact_reads_what_decimal_reads_and_never_rounds(warehouse: Warehouse) -> None:
    rng = random.Random(3)
    texts = [
        *("", "-", "1e5", "1.5E-3", "1E-18", "1E-19", "0.1234567890123456789", "NaN", "1,5"),
        *("12345678901234567890", "123456789012345678901", "+1.50", "-0", "0x1", " 1", "1e400"),
    ]
    for _ in range(500):
        digits = str(rng.randint(0, 10 ** rng.randint(1, 22)))
        fraction = str(rng.randint(0, 10 ** rng.randint(1, 20)))
        texts.append(f"{rng.choice(['', '-'])}{digits}.{fraction}")
    for text in texts:
        [row] = warehouse.rows(
            "select exact(t) as number, is_unreadable(t) as lost from (select ?::varchar as t)",
            [text],
        )
        assert row["number"] is None or row["number"] == Decimal(text)
        assert row["lost"] == (row["number"] is None and text != "")
        fits = is_plain(text) and len(text.lstrip("+-").partition(".")[0]) <= 15
        if fits and len(text.partition(".")[2]) <= 18:
            assert row["number"] is not None


def is_plain(text: str) -> bool:
    return text.lstrip("+-").replace(".", "", 1).isdecimal() and not text.startswith((".", "-."))


def test_a_table_that_is_kept_takes_a_large_night_in_the_transaction_that_made_it(
    warehouse: Warehouse,
) -> None:
    with warehouse.transaction():
        warehouse.keep("lots", "many", pa.schema([("n", pa.int64())]))
        warehouse.run("insert into lots.many from range(500_000)")
        counted = "select count(*) as n, max(n) as last from lots.many"
        assert warehouse.rows(counted) == [{"n": 500_000, "last": 499_999}]
    assert warehouse.rows(counted) == [{"n": 500_000, "last": 499_999}]


def test_the_latest_version_counts_wherever_its_time_went(warehouse: Warehouse) -> None:
    early, late = T0 - timedelta(days=60), T0
    land(warehouse, Record("fill", "1", '{"fee":"1"}', late))
    land(warehouse, Record("fill", "1", '{"fee":"2"}', early))
    for since in (early, late):
        warehouse.select("", [Again("okx", "a", since)])
        staged = [row["payload"] for row in warehouse.rows("from raw.to_stage")]
        assert staged == (['{"fee":"2"}'] if since == early else [])
    land(warehouse, Record("fill", "1", '{"fee":"3"}'))
    land(warehouse, Record("fill", "1", '{"fee":"3"}'))
    warehouse.select("", [Again("okx", "a", early)])
    assert [row["payload"] for row in warehouse.rows("from raw.to_stage")] == ['{"fee":"3"}']
    land(warehouse, Record("fill", "1", '{"fee":"4"}', late))
    warehouse.select("run", [])
    assert [row["payload"] for row in warehouse.rows("from raw.to_stage")][-1] == '{"fee":"4"}'
    versions = warehouse.rows("select version from raw.records order by version")
    assert [row["version"] for row in versions] == [1, 2, 3, 4]


def test_tables_too_large_for_one_piece_land_whole_and_once(warehouse: Warehouse) -> None:
    size = LANDED_AT_ONCE * 3 // 5
    ids = pa.array(range(size)).cast(pa.string())
    tables = [Table(f"table:{name}", pa.table({"id": ids, "a": ids})) for name in "xyz"]
    read = snapshot("table:x", "table:y", "table:z")
    with warehouse.transaction():
        for _ in range(2):
            warehouse.land("run", "books", "b", [*tables, read], T0)
        found = warehouse.rows(
            "select kind, count(*) as rows, count(distinct id) as ids, max(version) as version,"
            " count(*) filter (payload = json_object('a', id)::varchar) as same"
            " from raw.records group by kind order by kind"
        )
        memory = warehouse.rows("select current_setting('memory_limit') as size")
        warehouse.land("run", "books", "b", [*tables[1:], read], T0)
        gone = warehouse.rows("select count(*) as rows from raw.latest_state where payload is null")
    assert [tuple(row.values()) for row in found] == [
        (f"table:{name}", size, size, 1, size) for name in "xyz"
    ]
    assert gone == [{"rows": size}]
    assert memory != [{"size": LANDING_MEMORY}]
