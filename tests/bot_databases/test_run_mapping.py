"""Mappings: chosen by columns, run behind a locked door, answered with the contract's columns."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.bot_databases.sqlite import SqliteDatabase
from recon.bot_databases.exact_product import exact_product
from recon.bot_databases.mapping_queries import ANSWERS
from recon.bot_databases.mappings import find_mapping
from recon.bot_databases.run_mapping import (
    MappingAnswers,
    MappingLimits,
    Problem,
    read_books,
    unpack,
    unpack_stored,
)
from recon.core.records import Coverage, Record, Session, Table, Window
from recon.errors import BotDatabaseError, ConfigError

NOW = datetime(2026, 5, 15, tzinfo=UTC)
DAY = Session(date(2026, 5, 14), datetime(2026, 5, 14, tzinfo=UTC), NOW)


def snapshot(path: Path) -> list[Record | Table | Coverage]:
    async def drain() -> list[Record | Table | Coverage]:
        books = SqliteDatabase("btcq", path, now=lambda: NOW)
        return [one async for one in books.fetch(Window(DAY, DAY))]

    return asyncio.run(drain())


QUERY = {
    "trade_id": "'1'",
    "instrument": "'BTC-USDT-SWAP'",
    "side": "'long'",
    "qty": "1",
    "opened_at": "null",
    "closed_at": "timestamp '2026-05-14 12:00:00'",
    "entry_price": "null",
    "exit_price": "null",
    "gross": "null",
    "fee": "null",
    "funding": "null",
    "pnl": "1.5",
    "order_ids": "null",
}
POSITION = {"instrument": "'a'", "qty": "1", "avg_price": "null"}
Rows = dict[str, list[str | None]]


def select(columns: dict[str, str], source: str = "") -> str:
    return f"select {', '.join(f'{value} as {name}' for name, value in columns.items())} {source}"


def mapped(
    folder: Path,
    trades: str,
    *,
    types: Sequence[tuple[str, str]] = (("a", "BIGINT"),),
    rows: Rows | None = None,
    **files: str,
) -> MappingAnswers:
    """Run a mapping of one's own over a single table, `bot.t`."""
    mapping = folder / "mapping"
    mapping.mkdir(exist_ok=True)
    for name, text in {"trades": trades, **files}.items():
        (mapping / f"{name}.sql").write_text(text, encoding="utf-8")
    values = rows if rows is not None else {name: [] for name, _ in types}
    table = pa.table({name: pa.array(column, pa.string()) for name, column in values.items()})
    return read_books(find_mapping("mapping", folder), {"t": types}, {"t": table})


class TestMappings:
    def test_an_unknown_one_lists_what_is_shipped(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"'frektrade' is neither.*freqtrade"):
            find_mapping("frektrade", tmp_path)

    def test_a_folder_without_trades_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        with pytest.raises(ConfigError, match=r"trades\.sql"):
            find_mapping("mine", tmp_path)

    def test_the_variant_that_asks_for_more_wins(self, tmp_path: Path) -> None:
        for name, columns in (("old", "a"), ("new", "a, B"), ("newest", "a, b, c")):
            (tmp_path / "mine" / name).mkdir(parents=True)
            text = f"-- requires: T({columns}); u(x)\nselect 1"
            (tmp_path / "mine" / name / "trades.sql").write_text(text, encoding="utf-8")
        mapping = find_mapping("mine", tmp_path)
        schema = {"t": [("A", "BIGINT"), ("b", "BIGINT")], "u": [("x", "BIGINT")]}
        assert mapping.choose(schema).folder.name == "new"
        with pytest.raises(BotDatabaseError, match=r"lacks t\.a, u\.x:"):
            mapping.choose({})

    def test_a_garbled_header_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "trades.sql").write_text("-- requires: trades\nselect 1", encoding="utf-8")
        with pytest.raises(ConfigError, match="write `-- requires"):
            find_mapping(".", tmp_path)


class TestAnswers:
    def test_types_are_fixed(self, tmp_path: Path) -> None:
        fills = dict.fromkeys(ANSWERS["fills"].names, "null")
        fills |= {'"at"': "null"}
        del fills["at"]
        books = mapped(
            tmp_path, select(QUERY), fills=select(fills), positions=select(POSITION) + ";"
        )
        assert books.trades.schema == ANSWERS["trades"]
        assert books.fills is not None
        assert books.fills.schema == ANSWERS["fills"]
        assert books.positions is not None
        assert books.positions.schema == ANSWERS["positions"]
        assert books.trades["pnl"].to_pylist() == [Decimal("1.5")]

    @pytest.mark.parametrize(
        "query",
        [
            f"{select(QUERY)}; {select(QUERY)}",
            "create table x as select 1",
            "copy bot.t to 'x.csv'",
            "attach 'x.db'",
            "with a as (select 1) insert into bot.t select * from a",
            "set lock_configuration = false",
            "drop table bot.t",
            "pragma database_list",
            "install httpfs",
        ],
    )
    def test_anything_but_one_select_is_refused(self, tmp_path: Path, query: str) -> None:
        with pytest.raises(BotDatabaseError, match=r"trades\.sql must be one select"):
            mapped(tmp_path, query)

    @pytest.mark.parametrize("query", ["", "-- nothing"])
    def test_a_file_without_a_query_is_refused(self, tmp_path: Path, query: str) -> None:
        with pytest.raises(ConfigError, match=r"trades\.sql holds no query: write one select"):
            mapped(tmp_path, query)

    @pytest.mark.parametrize(
        "source",
        [
            "from read_text('/etc/hostname')",
            "from glob('/*')",
            "from read_csv('x.csv')",
            "from 'x.parquet'",
            "from rows",
            "from sqlite_scan('x.db', 't')",
        ],
    )
    def test_nothing_but_the_books_can_be_read(self, tmp_path: Path, source: str) -> None:
        with pytest.raises(BotDatabaseError, match=r"trades\.sql (reads|calls)"):
            mapped(tmp_path, select(QUERY, source))

    def test_what_duckdb_says_is_passed_on(self, tmp_path: Path) -> None:
        with pytest.raises(BotDatabaseError, match=r"trades\.sql: Binder Error: .*nope"):
            mapped(tmp_path, select(QUERY | {"pnl": "nope"}, "from bot.t"))
        with pytest.raises(BotDatabaseError, match=r"trades\.sql: Parser Error"):
            mapped(tmp_path, "selec 1")
        with pytest.raises(BotDatabaseError, match=r"trades\.sql: .*the argument is not a number"):
            mapped(tmp_path, select(QUERY | {"pnl": "exact_product('1.5 BTC')"}))

    def test_missing_and_extra_columns_are_named(self, tmp_path: Path) -> None:
        columns = {name: QUERY[name] for name in QUERY if name != "fee"} | {"fees": "null"}
        with pytest.raises(
            BotDatabaseError, match=r"lacks fee; adds fees: select exactly trade_id"
        ):
            mapped(tmp_path, select(columns))

    @pytest.mark.parametrize("value", ["1.5::double", "1.5::float", "true", "'1'::bignum"])
    def test_a_number_that_is_not_exact_is_refused(self, tmp_path: Path, value: str) -> None:
        with pytest.raises(
            BotDatabaseError, match=r"pnl is \w+, which is not exact: cast it to decimal"
        ):
            mapped(tmp_path, select(QUERY | {"pnl": value}))

    def test_digits_past_the_eighteenth(self, tmp_path: Path) -> None:
        fine = "1.0000000000000000005::decimal(38, 19)"
        books = mapped(tmp_path, select(QUERY | {"pnl": fine, "gross": "'1.0000000000000000015'"}))
        assert books.trades["pnl"].to_pylist() == [Decimal(1)]
        assert books.trades["gross"].to_pylist() == [Decimal("1.000000000000000002")]
        with pytest.raises(BotDatabaseError, match=r"qty holds '1.0000000000000000005'"):
            mapped(tmp_path, select(QUERY | {"qty": fine}))
        with pytest.raises(
            BotDatabaseError, match=r"positions\.sql: qty holds '1.0000000000000000005'"
        ):
            mapped(tmp_path, select(QUERY), positions=select(POSITION | {"qty": fine}))

    @pytest.mark.parametrize(
        "value", ["'abc'", "'1_000'", "'nan'", "'Infinity'", f"{10**21}::hugeint"]
    )
    def test_an_unreadable_number_is_refused(self, tmp_path: Path, value: str) -> None:
        for column in ("qty", "pnl"):
            with pytest.raises(BotDatabaseError, match=r"trades\.sql: "):
                mapped(tmp_path, select(QUERY | {column: value}))

    def test_blank_is_unknown(self, tmp_path: Path) -> None:
        books = mapped(tmp_path, select(QUERY | {"fee": "''", "qty": "''"}))
        assert (books.trades["fee"][0].as_py(), books.trades["qty"][0].as_py()) == (None, None)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("'2026-05-14 12:00:00.123456'", "2026-05-14T12:00:00.123456"),
            ("'2026-05-14T12:00:00Z'", "2026-05-14T12:00:00"),
            ("'2026-05-14T12:00:00+02:00'", "2026-05-14T10:00:00"),
            ("timestamptz '2026-05-14 12:00:00-04'", "2026-05-14T16:00:00"),
            ("timestamp_ms '2026-05-14 12:00:00.123'", "2026-05-14T12:00:00.123000"),
            ("epoch_ms(1778760000000)", "2026-05-14T12:00:00"),
            ("to_timestamp(1778760000)", "2026-05-14T12:00:00"),
        ],
    )
    def test_times_are_utc(self, tmp_path: Path, value: str, expected: str) -> None:
        books = mapped(tmp_path, select(QUERY | {"closed_at": value}))
        assert books.trades["closed_at"][0].as_py() == datetime.fromisoformat(expected)

    @pytest.mark.parametrize("value", ["1778760000000", "date '2026-05-14'", "1778760000.5"])
    def test_a_number_is_no_time(self, tmp_path: Path, value: str) -> None:
        with pytest.raises(BotDatabaseError, match=r"closed_at is .*epoch_ms"):
            mapped(tmp_path, select(QUERY | {"closed_at": value}))

    @pytest.mark.parametrize(
        "value", ["'yesterday'", "'2026-13-01 00:00:00'", "'14/05/2026'", "'infinity'::timestamp"]
    )
    def test_an_unreadable_time_is_refused(self, tmp_path: Path, value: str) -> None:
        with pytest.raises(BotDatabaseError, match=r"closed_at holds"):
            mapped(tmp_path, select(QUERY | {"closed_at": value}))

    def test_order_ids(self, tmp_path: Path) -> None:
        books = mapped(tmp_path, select(QUERY | {"order_ids": "[12, null]"}))
        assert books.trades["order_ids"].to_pylist() == [["12", None]]
        with pytest.raises(BotDatabaseError, match=r"order_ids is varchar: give a list"):
            mapped(tmp_path, select(QUERY | {"order_ids": "'12'"}))

    def test_rows_that_cannot_stand_are_problems_not_errors(self, tmp_path: Path) -> None:
        query = select(QUERY | {"trade_id": "a", "side": "s", "pnl": "p", "closed_at": "c"})
        source = (
            " from (values ('1', 'long', 1, '2026-05-14 00:00:00'), (null, 'short', 1,"
            " '2026-05-14 00:00:00'), ('1', 'long', 1, '2026-05-14 00:00:00'), ('4', 'LONG', 1,"
            " '2026-05-14 00:00:00'), ('5', null, null, null)) as v(a, s, p, c)"
        )
        books = mapped(tmp_path, query + source)
        assert books.trades.num_rows == 5
        assert set(books.problems) == {
            Problem("trades", None, "trade_id is null"),
            Problem("trades", "1", "trade_id is not unique: another row has it too"),
            Problem("trades", "4", "side is neither long nor short"),
            Problem("trades", "5", "side is neither long nor short"),
            Problem("trades", "5", "pnl is null"),
            Problem("trades", "5", "closed_at is null"),
        }


class TestSnapshots:
    def test_hostile_names_do_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "bot.sqlite"
        with closing(sqlite3.connect(path)) as bot:
            bot.execute(
                'create table "weird ""name; drop" ("a""; drop schema bot; --" int, "" int)'
            )
            bot.execute('insert into "weird ""name; drop" values (1, 2)')
            bot.execute('create table "x\'y" ("select" text)')
            bot.execute("insert into \"x'y\" values ('''; drop schema bot; --')")
            bot.commit()
        (tmp_path / "trades.sql").write_text(
            select(QUERY | {"pnl": '"a""; drop schema bot; --"', "instrument": '"select"'})
            + 'from bot."weird ""name; drop", bot."x\'y"',
            encoding="utf-8",
        )
        books = read_books(find_mapping(".", tmp_path), *unpack(snapshot(path)))
        assert books.trades["pnl"].to_pylist() == [Decimal(1)]
        assert books.trades["instrument"].to_pylist() == ["'; drop schema bot; --"]

    @pytest.mark.parametrize("hostile", ["BIGINT); drop schema bot; --", "DOUBLE", "DECIMAL(39,1)"])
    def test_a_column_type_is_one_of_ours(self, tmp_path: Path, hostile: str) -> None:
        with pytest.raises(BotDatabaseError, match="no known type"):
            mapped(tmp_path, select(QUERY), types=[("a", hostile)])

    def test_more_digits_than_the_column_holds_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BotDatabaseError, match="more digits than its columns"):
            mapped(tmp_path, select(QUERY), types=[("a", "DECIMAL(38,2)")], rows={"a": ["1.005"]})

    def test_rows_without_their_columns_are_refused(self) -> None:
        with pytest.raises(BotDatabaseError, match="lacks the columns of t"):
            unpack([Table("table:t", pa.table({"id": ["1"], "a": ["1"]}))])

    def test_blobs_and_booleans(self, tmp_path: Path) -> None:
        books = mapped(
            tmp_path,
            select(QUERY | {"trade_id": "hex(a)"}, "from bot.t where b"),
            types=[("a", "BLOB"), ("b", "BOOLEAN")],
            rows={"a": ["00ff", "01"], "b": ["1", "0"]},
        )
        assert books.trades["trade_id"].to_pylist() == ["00FF"]


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1),
        min_size=1,
        max_size=80,
    )
)
def test_any_number_arrives_as_it_was_written(tmp_path: Path, values: list[float | int]) -> None:
    path = tmp_path / "bot.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as bot:
        bot.execute("create table t (n integer primary key, a)")
        bot.executemany("insert into t (a) values (?)", [(value,) for value in values])
        bot.commit()
    (tmp_path / "trades.sql").write_text(
        select(QUERY | {"trade_id": "n", "instrument": "a"}, "from bot.t"), encoding="utf-8"
    )
    books = read_books(find_mapping(".", tmp_path), *unpack(snapshot(path)))
    arrived = {int(row["trade_id"]): row["instrument"] for row in books.trades.to_pylist()}
    assert [Decimal(arrived[n]) for n in range(1, len(values) + 1)] == [
        Decimal(repr(value)) for value in values
    ]


@given(st.lists(st.decimals(-1000, 1000, places=12), min_size=1, max_size=5))
def test_a_product_is_rounded_once(factors: list[Decimal]) -> None:
    with localcontext(prec=200):
        whole = Decimal(1)
        for factor in factors:
            whole *= factor
        assert exact_product(*map(str, factors)) == whole.quantize(Decimal("1e-18"))


def test_a_product_of_what_is_unknown_or_not_exact() -> None:
    assert exact_product("1", None) is None
    assert exact_product("1", " ") is None
    with pytest.raises(TypeError, match="cast to decimal"):
        exact_product(1.5)
    with pytest.raises(ValueError, match="more than twenty digits"):
        exact_product(10**10, 10**10)


def test_a_query_without_end_is_stopped(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "vault.sqlite")) as bot:
        bot.execute("create table trades (id integer primary key)")
        bot.executemany("insert into trades values (?)", [(n,) for n in range(2_000)])
        bot.commit()
    (tmp_path / "trades.sql").write_text(
        "select count(*)::varchar as trade_id, 'X' as instrument, 'long' as side, null as qty, "
        "null as opened_at, '2026-05-14' as closed_at, null as entry_price, null as exit_price, "
        "null as gross, null as fee, null as funding, 1 as pnl, null::varchar[] as order_ids "
        "from bot.trades a, bot.trades b, bot.trades c, bot.trades d "
        "where a.id + b.id + c.id + d.id = 7"
    )
    with pytest.raises(
        BotDatabaseError, match=r"trades\.sql took longer than 0\.5 s and was stopped"
    ):
        read_books(
            find_mapping(".", tmp_path),
            *unpack(snapshot(tmp_path / "vault.sqlite")),
            limits=MappingLimits(time_s=0.5),
        )


class TestStored:
    @staticmethod
    def stored(
        schemas: dict[str, list[tuple[str, str]]], payloads: dict[str, list[dict[str, str | None]]]
    ) -> tuple[dict[str, list[tuple[str, str]]], dict[str, pa.Table]]:
        with closing(duckdb.connect(":memory:")) as rows:
            rows.execute("create table records (kind text, payload json)")
            for table, written in payloads.items():
                values = [[f"table:{table}", json.dumps(one)] for one in written]
                rows.executemany("insert into records values (?, ?)", values)

            def read(kind: str, what: str) -> pa.Table:
                query = f"select {what} from records where kind = ?"
                return rows.sql(query, params=[kind]).to_arrow_table()

            columns = [(name, json.dumps({"columns": of})) for name, of in schemas.items()]
            return unpack_stored(columns, read)

    def test_payloads_are_taken_apart(self) -> None:
        odd = "a\"; drop -- ' \u00fc"
        columns = [("id", "BIGINT"), (odd, "VARCHAR"), ("late", "VARCHAR"), ("", "VARCHAR")]
        rows: list[dict[str, str | None]] = [
            {"id": "1", odd: 'x "\u0000 \\ \U0001f600', "": "y"},
            {"id": None, odd: "", "late": "12"},
        ]
        schema, tables = self.stored({"t\"'": columns, "none": [("a", "BIGINT")]}, {"t\"'": rows})
        assert schema == {"t\"'": columns[:3], "none": [("a", "BIGINT")]}
        assert tables["t\"'"].to_pydict() == {
            "id": ["1", None],
            odd: ['x "\u0000 \\ \U0001f600', ""],
            "late": [None, "12"],
        }
        assert tables["none"].to_pydict() == {"a": []}
        assert {str(one.type) for table in tables.values() for one in table.schema} == {"string"}

    @pytest.mark.parametrize(
        ("given", "values", "fitted"),
        [
            ("DECIMAL(38,2)", ["1.005", "-20.50", None], "DECIMAL(38,3)"),
            ("DECIMAL(38,18)", ["1.0", "7"], "DECIMAL(38,0)"),
            ("DECIMAL(38,18)", [None], "DECIMAL(38,18)"),
            ("DECIMAL(38,1)", ["1" * 20, "0." + "1" * 19], "VARCHAR"),
            ("DECIMAL(38,1)", ["1" * 20, "-0." + "1" * 18], "DECIMAL(38,18)"),
            ("VARCHAR", ["1.005"], "VARCHAR"),
        ],
    )
    def test_decimals_have_the_places_of_all_rows(
        self, given: str, values: list[str | None], fitted: str
    ) -> None:
        schema, _ = self.stored({"t": [("a", given)]}, {"t": [{"a": one} for one in values]})
        assert schema == {"t": [("a", fitted)]}
