"""Bot databases in files: each field verbatim, found by path or pattern, never read in part."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from connectors.bot_databases import csv_files, json_files, parquet_files
from connectors.bot_databases.files import FileReader, FileTable, Parse, table_name
from connectors.bot_databases.meter import Meter
from connectors.bot_databases.snapshot import TableRows, UnreadableError, WholeBooks
from recon.core.limits import Limits
from recon.core.records import Coverage, Session, Window
from tests.bot_databases.test_run_mapping import NOW
from tests.conftest import AsNobody

PARSERS: dict[str, tuple[Parse, tuple[str, ...]]] = {
    "csv": (csv_files.parse_csv, csv_files.SUFFIXES),
    "parquet": (parquet_files.parse_parquet, parquet_files.SUFFIXES),
    "json": (json_files.parse_json, json_files.SUFFIXES),
}
HERE = Path("trades")
FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.none()
JSON = st.recursive(
    st.none() | st.booleans() | st.text(st.characters(codec="utf-8")) | st.integers(),
    lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    max_leaves=8,
)


def read(kind: str, path: Path, table: str | None = None) -> dict[str, TableRows]:
    parse, suffixes = PARSERS[kind]
    return asyncio.run(FileReader(path, parse, suffixes, table).read(lambda _table: True))


def refusal(kind: str, path: Path) -> str:
    with pytest.raises(UnreadableError) as refused:
        read(kind, path)
    return str(refused.value)


def rows(table: TableRows) -> list[dict[str, str | None]]:
    """Return the rows without their ids, as the file orders them."""
    assert table.rows.column_names == ["id", *dict(table.columns)]
    ids = table.rows.column(0).to_pylist()
    assert len(set(ids)) == len(ids)
    columns = [column.to_pylist() for column in table.rows.columns[1:]]
    names = list(dict(table.columns))
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def columns(table: FileTable) -> dict[str, list[str | None]]:
    return {name: column.values.to_pylist() for name, column in table.columns.items()}


def written(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


class TestCsv:
    @given(st.lists(st.tuples(FIELD, FIELD), min_size=1), st.sampled_from(",;\t|"))
    def test_every_field_is_as_it_is_written(
        self, fields: list[tuple[str | None, str | None]], delimiter: str
    ) -> None:
        def written_one(field: str | None) -> str:
            return "" if field is None else '"' + field.replace('"', '""') + '"'

        lines = [delimiter.join(map(written_one, row)) for row in fields]
        text = "\r\n".join([f"id{delimiter}b", *lines, ""])
        (table,) = csv_files.parse_csv(HERE, text.encode(), Meter(HERE))
        assert columns(table) == {
            "id": [one for one, _ in fields],
            "b": [other for _, other in fields],
        }

    def test_numbers_are_not_touched(self) -> None:
        numbers = ["1.50", "1e-7", "007", "0.10000000000000000001", "-0", "NaN", "1,5"]
        lines = "".join(f'"{one}"\n' if "," in one else f"{one}\n" for one in numbers)
        (table,) = csv_files.parse_csv(HERE, f"n\n{lines}".encode(), Meter(HERE))
        assert columns(table) == {"n": numbers}
        assert table.columns["n"].duckdb_type() == "VARCHAR"

    def test_nothing_is_null_and_quoted_nothing_is_a_text(self) -> None:
        (table,) = csv_files.parse_csv(HERE, b'\xef\xbb\xbfa,b\r\n,""\r\n', Meter(HERE))
        assert columns(table) == {"a": [None], "b": [""]}

    def test_bytes_that_are_no_utf8_are_shown(self) -> None:
        (table,) = csv_files.parse_csv(HERE, b"a\n\xff1\n", Meter(HERE))
        assert columns(table) == {"a": [r"\xff1"]}

    def test_a_header_alone_is_a_table_without_rows(self, tmp_path: Path) -> None:
        table = read("csv", written(tmp_path, {"trades.csv": "a,b\n"}))["trades"]
        assert (rows(table), dict(table.columns)) == ([], {"a": "VARCHAR", "b": "VARCHAR"})

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("a,b\n1,2\n3\n", "has an invalid CSV row"),
            ("a,b\n1,2\n3,4,5\n", "has an invalid CSV row"),
            ("a,b\n1,2\n3,4", "ends without a line feed"),
            ('a,b\n1,2\n3,"4\n', "ends inside a quoted field"),
            (b"a,b\n1,2\n\0\0\0\0\n", "holds NUL bytes"),
            ("a,b\n1,2\n".encode("utf-16"), "is written in UTF-16"),
            ("a,\n1,2\n", "has a column without a name"),
            ("a,a\n1,2\n", "has two columns of one name"),
            ("a,A\n1,2\n", r"columns of equal names in SQL ('a', 'A')"),
            ("", "is empty"),
        ],
    )
    def test_what_is_not_whole_is_refused(
        self, content: str | bytes, said: str, tmp_path: Path
    ) -> None:
        assert said in refusal("csv", written(tmp_path, {"trades.csv": content}))


ABORTING = base64.b64decode(
    "UEFSMRUAFRwVHCwVAhUAFQYVBhwYCAEAAAAAAAAAGAgBAAAAAAAAABYAKAgBAAAAAAAAABgIAQAAAAAAAAAREQAA"
    "AAIAAAACAQEAAAAAAAAAFQQZLDUAGAZzY2hlbWEVAgAVBCQCGAFhABYCGRwZHCYAHBUEGSUGABkYAWEVABYCFpoB"
    "FpoBJgg8GAgBAAAAAAAAABgIAQAAAAAAAAAWACgIAQAAAAAAAAAYCAEAAAAAAAAAEREAGRwVABUAFQIAPCkGGSYA"
    "AgAAABaaARYCJggWmgEAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI2LjAuMRkcHAAAAKwAAABQQVIx"
)
"""A file of one row, whose page index says that its values nest: Arrow 26 aborts over it."""


class TestParquet:
    @given(st.lists(st.none() | st.floats(allow_infinity=False)))
    def test_a_float_is_the_shortest_decimal_that_is_it(self, floats: list[float | None]) -> None:
        found = self.parsed({"a": pa.array(floats, pa.float64())})["a"]
        for given_one, text in zip(floats, found, strict=True):
            if given_one is None or given_one != given_one:  # noqa: PLR0124 - NaN
                assert text is None
            else:
                assert text is not None
                assert "e" not in text
                assert Decimal(text) == Decimal(repr(given_one))

    @given(st.lists(st.decimals(-(10**19), 10**19, places=18)))
    def test_a_decimal_keeps_each_digit(self, numbers: list[Decimal]) -> None:
        found = self.parsed({"a": pa.array(numbers, pa.decimal128(38, 18))})["a"]
        assert [Decimal(str(one)) for one in found] == numbers
        assert not [one for one in found if "e" in str(one).lower()]

    def test_each_type_has_its_own(self) -> None:
        east = timezone(timedelta(hours=5))
        given_columns: dict[str, tuple[pa.Array, str, list[str | None]]] = {
            "int": (pa.array([2**63 - 1, None]), "BIGINT", [str(2**63 - 1), None]),
            "uint": (pa.array([2**64 - 1], pa.uint64()), "DECIMAL(38,0)", [str(2**64 - 1)]),
            "single": (pa.array([0.1], pa.float32()), "DECIMAL(38,1)", ["0.1"]),
            "half": (pa.array([0.5], pa.float16()), "DECIMAL(38,1)", ["0.5"]),
            "bool": (pa.array([True, None]), "BOOLEAN", ["true", None]),
            "naive": (
                pa.array([datetime(2026, 5, 14, 1, 2, 3)]),
                "TIMESTAMP",
                ["2026-05-14 01:02:03.000000"],
            ),
            "zoned": (
                pa.array([datetime(2026, 5, 14, 1, tzinfo=east)]),
                "TIMESTAMP WITH TIME ZONE",
                ["2026-05-13 20:00:00.000000Z"],
            ),
            "date": (pa.array([date(2026, 5, 14)]), "DATE", ["2026-05-14"]),
            "text": (pa.array(["a", ""]), "VARCHAR", ["a", ""]),
            "coded": (pa.array(["a", "a"]).dictionary_encode(), "VARCHAR", ["a", "a"]),
            "bytes": (pa.array([b"\0\xff"]), "BLOB", ["00ff"]),
            "parts": (
                pa.array([{"cost": 1e-7, "of": ["x", None]}]),
                "VARCHAR",
                ['{"cost":"0.0000001","of":["x",null]}'],
            ),
        }
        for name, (values, kind, said) in given_columns.items():
            (table,) = parquet_files.parse_parquet(HERE, self.file({name: values}), Meter(HERE))
            assert columns(table) == {name: said}, name
            assert table.columns[name].duckdb_type() == kind, name

    def test_an_infinite_number_is_refused(self, tmp_path: Path) -> None:
        content = self.file({"a": pa.array([1.0, float("inf")])})
        said = refusal("parquet", written(tmp_path, {"t.parquet": content}))
        assert "holds an infinite number (column a)" in said

    @pytest.mark.parametrize("cut", [1, 8, 40])
    def test_a_cut_off_file_is_refused(self, cut: int, tmp_path: Path) -> None:
        content = self.file({"a": pa.array([1.0])})[:-cut]
        said = refusal("parquet", written(tmp_path, {"t.parquet": content}))
        assert "is not a complete Parquet file" in said

    def test_a_file_that_makes_its_decoder_crash_is_refused(self, tmp_path: Path) -> None:
        said = refusal("parquet", written(tmp_path, {"t.parquet": ABORTING}))
        assert "the file is damaged" in said or "is not a complete Parquet file" in said
        assert self.parsed({"a": pa.array([7])}) == {"a": ["7"]}

    def test_a_file_that_needs_too_much_memory_is_refused(self) -> None:
        content = self.file({"a": pa.array(["x" * 900_000] * 40)})
        meter = Meter(HERE, Limits(parquet_memory_mb=16))
        with pytest.raises(UnreadableError, match=r"parquet_memory_mb = 16 allows.*raise parquet_"):
            parquet_files.parse_parquet(HERE, content, meter)

    def test_a_file_that_takes_too_long_is_refused(self) -> None:
        column = pa.array([0.1 * number for number in range(200_000)])
        content = self.file({f"c{number}": column for number in range(40)})
        meter = Meter(HERE, Limits(seconds=1, rows=10**9, text_mb=10**6))
        with pytest.raises(UnreadableError, match=r"took longer than 1 s to read: .*raise seconds"):
            for _ in iter(lambda: parquet_files.parse_parquet(HERE, content, meter), None):
                pass

    def test_the_limits_are_of_all_files_together(self) -> None:
        content = self.file({"a": pa.array([1] * 6)})
        meter = Meter(HERE, Limits(rows=10))
        parquet_files.parse_parquet(HERE, content, meter)
        with pytest.raises(UnreadableError, match="has 12 rows"):
            parquet_files.parse_parquet(HERE, content, meter)

    def test_files_of_several_types_are_one_table(self, tmp_path: Path) -> None:
        written(
            tmp_path,
            {
                "t-1.parquet": self.file({"n": pa.array([2**62]), "x": pa.array(["a"])}),
                "t-2.parquet": self.file({"n": pa.array([0.125]), "x": pa.array([1])}),
                "t-3.parquet": self.file({"n": pa.array([None], pa.null())}),
            },
        )
        table = read("parquet", tmp_path)["t"]
        assert rows(table) == [
            {"n": str(2**62), "x": "a"},
            {"n": "0.125", "x": "1"},
            {"n": None, "x": None},
        ]
        assert dict(table.columns) == {"n": "DECIMAL(38,3)", "x": "VARCHAR"}

    @staticmethod
    def file(given_columns: dict[str, pa.Array]) -> bytes:
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.table(given_columns), sink)
        return bytes(sink.getvalue().to_pybytes())

    def parsed(self, given_columns: dict[str, pa.Array]) -> dict[str, list[str | None]]:
        (table,) = parquet_files.parse_parquet(HERE, self.file(given_columns), Meter(HERE))
        return columns(table)


class TestJson:
    def parsed(self, text: str) -> dict[str | None, dict[str, list[str | None]]]:
        return {
            one.name: columns(one)
            for one in json_files.parse_json(HERE, text.encode(), Meter(HERE))
        }

    def test_numbers_are_not_touched(self) -> None:
        numbers = ["0.10000000000000000001", "1e-7", "-0.0", "12345678901234567890123", "1.50"]
        text = "[" + ", ".join(f'{{"n": {one}, "in": {{"n": {one}}}}}' for one in numbers) + "]"
        found = self.parsed(text)[None]
        assert found["n"] == numbers
        assert [json.loads(str(one))["n"] for one in found["in"]] == numbers

    @given(st.lists(st.dictionaries(st.text(min_size=1), JSON, max_size=3), min_size=1))
    def test_every_value_is_found_again(self, given_rows: list[dict[str, Any]]) -> None:
        def as_text(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: as_text(part) for name, part in value.items()}
            if isinstance(value, list):
                return [as_text(part) for part in value]
            return value if isinstance(value, bool | str | None) else str(value)

        found = self.parsed(json.dumps(given_rows)).get(None, {})
        for name, values in found.items():
            for row, text in zip(given_rows, values, strict=True):
                value = row.get(name)
                if isinstance(value, dict | list):
                    assert json.loads(str(text)) == as_text(value)
                elif isinstance(value, bool):
                    assert text == ("true" if value else "false")
                else:
                    assert text == (None if value is None else str(value))

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('[{"a": 1}, {"b": null}]', {None: {"a": ["1", None], "b": [None, None]}}),
            ('{"a": 1}\n\n{"a": 2}\n', {None: {"a": ["1", "2"]}}),
            ('{"t": [{"a": true}], "u": []}', {"t": {"a": ["true"]}, "u": {}}),
            (
                '{"t": {"1": {"a": "x"}, "2": {"a": NaN}}}',
                {"t": {"a": ["x", None], "_key": ["1", "2"]}},
            ),
            ('{"X/Y": {"a": 1}}', {None: {"a": ["1"], "_key": ["X/Y"]}}),
            ('{"X/Y": {"_key": 1}}', {None: {"_key": ["1"]}}),
            ('{"v": 3, "in": {"a": 1}}', {None: {"v": ["3"], "in": ['{"a":"1"}']}}),
            ('{"v": 3, "t": [{"a": 1}]}', {"t": {"a": ["1"]}, None: {"v": ["3"]}}),
        ],
    )
    def test_what_a_file_may_hold(
        self, text: str, said: dict[str | None, dict[str, list[str | None]]]
    ) -> None:
        assert self.parsed(text) == said

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ('[{"a": 1}, {"a": ', "is not complete JSON (Expecting value, line 1)"),
            ('{"a": 1}\n{"a": 2', "is not complete JSON"),
            ('[{"a": 1}]]', "is not complete JSON"),
            ('[{"a": Infinity}]', "has an invalid value (Infinity is not a number)"),
            ('{"t": {"1": {}, "1": {}}}', "has an invalid value (an object has the key '1' twice)"),
            ('[{"a": 1, "A": 2}]', "columns of equal names in SQL"),
            ("[[1, 2]]", "holds neither rows nor tables"),
            ("12", "holds neither rows nor tables"),
            (b"\xff\xfe{}", "is not UTF-8"),
            ("[" * 100_000, "is nested too deeply"),
        ],
    )
    def test_what_is_not_whole_is_refused(
        self, content: str | bytes, said: str, tmp_path: Path
    ) -> None:
        assert said in refusal("json", written(tmp_path, {"t.json": content}))

    def test_the_ids_are_the_files_own(self, tmp_path: Path) -> None:
        written(tmp_path, {"bot.json": '{"t": {"7": {"a": 1}, "9": {"a": 1}}}'})
        assert read("json", tmp_path)["t"].rows.column(0).to_pylist() == ["7", "9"]
        written(tmp_path, {"other.json": '{"t": {"7": {"a": 1}}}'})
        assert read("json", tmp_path)["t"].rows.column(0).to_pylist() == [
            "bot.json/7",
            "bot.json/9",
            "other.json/7",
        ]


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "table"),
        [
            ("trades.csv", "trades"),
            ("trades-2026-05-14.csv", "trades"),
            ("2026-05-14.json", "rows"),
            ("20260514T000000Z_my_trades_007.parquet", "my_trades"),
            ("btc2.csv", "btc2"),
            ("a-2026-b.csv", "a-b"),
            ("trades.2026.csv.json", "trades"),
        ],
    )
    def test_a_table_is_named_without_dates(self, name: str, table: str) -> None:
        assert table_name(Path(name)) == table

    def test_a_folder_is_read_by_its_files(self, tmp_path: Path) -> None:
        written(
            tmp_path,
            {
                "trades-1.csv": "a,b\n1,2\n",
                "trades-2.CSV": "b,c\n3,4\n",
                "orders.tsv": "o\tp\n1\t2\n",
                "notes.txt": "x",
            },
        )
        (tmp_path / "older.csv").mkdir()
        found = read("csv", tmp_path)
        assert set(found) == {"trades", "orders"}
        assert rows(found["trades"]) == [
            {"a": "1", "b": "2", "c": None},
            {"a": None, "b": "3", "c": "4"},
        ]

    def test_a_pattern_is_read_in_depth_and_named(self, tmp_path: Path) -> None:
        for day in ("2026-05-13", "2026-05-14"):
            (tmp_path / day).mkdir()
            written(tmp_path / day, {f"bot_{day}.csv": f"d\n{day}\n"})
        found = read("csv", tmp_path / "*" / "*.csv", "trades")
        assert rows(found["trades"]) == [{"d": "2026-05-13"}, {"d": "2026-05-14"}]

    def test_equal_rows_are_two_rows_and_their_place_is_no_matter(self, tmp_path: Path) -> None:
        def ids(text: str) -> set[str]:
            (tmp_path / "t.csv").write_text(text)
            return set(read("csv", tmp_path)["t"].rows.column(0).to_pylist())

        first = ids("a,b\n1,\n1,\n2,x\n")
        assert len(first) == 3
        assert ids("b,a\nx,2\n,1\n,1\n") == first
        assert ids('a,b\n1,""\n1,\n2,x\n') != first

    @pytest.mark.parametrize("name", ["none.csv", "none-*.csv", "*/none.csv", "empty"])
    def test_what_is_not_there_is_named(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        said = refusal("csv", tmp_path / name)
        assert said.startswith(str(tmp_path / name))
        assert "correct the path" in said

    @pytest.mark.parametrize("name", ["shut/t.csv", "shut", "shut/*.csv", "*/*.csv", "t.csv"])
    def test_what_may_not_be_read_is_named(
        self, name: str, tmp_path: Path, as_nobody: AsNobody
    ) -> None:
        for folder in (tmp_path, tmp_path / "shut"):
            folder.mkdir(exist_ok=True)
            written(folder, {"t.csv": "a\n1\n"})
            read("csv", folder)
        (tmp_path / "t.csv").chmod(0)
        (tmp_path / "shut").chmod(0)
        try:
            with as_nobody():
                assert "may not be read" in refusal("csv", tmp_path / name)
        finally:
            (tmp_path / "shut").chmod(0o700)

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "t.csv")
        assert "is not a file" in refusal("csv", tmp_path / "t.csv")

    def test_a_file_that_is_being_written_is_read_when_it_rests(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text("n\n0\n")

        def write() -> None:
            for number in range(1, 60):
                with path.open("a") as file:
                    file.write(f"{number}")
                    file.flush()
                    time.sleep(0.002)
                    file.write("\n")

        writer = threading.Thread(target=write)
        writer.start()
        while path.stat().st_size < 8:
            time.sleep(0.001)
        found = rows(read("csv", path)["t"])
        writer.join()
        assert found == [{"n": str(number)} for number in range(60)]

    def test_only_what_is_wanted_is_told(self, tmp_path: Path) -> None:
        written(tmp_path, {"trades.csv": "a\n1\n", "keys.csv": "secret\ncanary\n"})
        parse, suffixes = PARSERS["csv"]
        reader = FileReader(tmp_path, parse, suffixes)
        assert set(asyncio.run(reader.read("trades".__eq__))) == {"trades"}

    def test_nothing_of_the_bots_is_touched(self, tmp_path: Path) -> None:
        written(tmp_path, {"t.csv": "a\n1\n", "u.json": "[{}]"})
        before = [(path, path.stat()) for path in sorted(tmp_path.rglob("*"))]
        read("csv", tmp_path)
        assert [(path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))] == [
            (path, found.st_mtime_ns) for path, found in before
        ]


class TestWhole:
    @staticmethod
    def drained(books: WholeBooks) -> Iterable[Any]:
        day = Session(NOW.date() - timedelta(days=1), NOW - timedelta(days=1), NOW)

        async def drain() -> list[Any]:
            return [item async for item in books.fetch(Window(day, day))]

        return asyncio.run(drain())

    def books(self, path: Path, **more: Any) -> WholeBooks:
        parse, suffixes = PARSERS["csv"]
        return WholeBooks("b", FileReader(path, parse, suffixes), now=lambda: NOW, **more)

    def test_coverage_is_a_snapshot_of_all_that_was_read(self, tmp_path: Path) -> None:
        written(tmp_path, {"t.csv": "a\n1\n2\n"})
        *_, coverage = self.drained(self.books(tmp_path))
        assert isinstance(coverage, Coverage)
        assert (coverage.is_snapshot, coverage.served_to) == (True, NOW)
        assert (set(coverage.kinds), coverage.rows) == ({"schema", "table:t"}, 3)

    def test_it_gives_up_in_time(self, tmp_path: Path) -> None:
        def slow(_path: Path, _content: bytes, _meter: Meter) -> list[FileTable]:
            time.sleep(0.5)
            return []

        written(tmp_path, {"t.csv": "a\n1\n"})
        reader = FileReader(tmp_path, slow, (".csv",))
        books = WholeBooks("b", reader, now=lambda: NOW, limit_s=0.05)
        with pytest.raises(UnreadableError, match=r"took longer than 0\.05 s"):
            self.drained(books)

    def test_a_table_that_sql_takes_for_another_is_refused(self, tmp_path: Path) -> None:
        written(tmp_path, {"t.csv": "a\n1\n", "T.csv": "a\n1\n"})
        with pytest.raises(UnreadableError, match="tables of equal names in SQL"):
            self.drained(self.books(tmp_path))

    def test_books_without_what_is_wanted_are_refused(self, tmp_path: Path) -> None:
        written(tmp_path, {"t.csv": "a\n1\n"})
        with pytest.raises(UnreadableError, match="holds table t, which no mapping reads"):
            self.drained(self.books(tmp_path, is_wanted=lambda _table: False))
