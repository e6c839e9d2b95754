"""A bot's PostgreSQL database: each digit, one instant, no change, and no password sent openly."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connectors.bot_databases import postgres as reader
from connectors.bot_databases.postgres import PostgresReader
from connectors.bot_databases.snapshot import TableRows, UnreadableError, WholeBooks
from recon.core.records import CheckItem
from tests.support.bots import NOW, snapshot
from tests.support.servers.postgres import PASSWORD, PostgresServer

FLOATS = st.lists(
    st.none() | st.floats(allow_infinity=False) | st.integers(-(2**53), 2**53).map(float)
)


def read(server: PostgresServer, database: str, *wanted: str) -> dict[str, TableRows]:
    reader = PostgresReader(server.url(database), PASSWORD)
    return asyncio.run(reader.read(lambda name: not wanted or name in wanted))


def refusal(url: str, password: str = PASSWORD) -> str:
    """Return the reason of the refusal, which check gives too, with a remedy."""
    books = WholeBooks("bot", PostgresReader(url, password), now=lambda: NOW)
    with pytest.raises(UnreadableError) as refused:
        snapshot(books)
    items: list[CheckItem] = asyncio.run(books.check())
    assert [item.is_ok for item in items] == [False]
    assert all(item.remedy for item in items)
    assert PASSWORD not in str(refused.value) + items[0].detail + items[0].remedy
    return str(refused.value)


def values(table: TableRows, column: str) -> list[str | None]:
    place = 1 + [name for name, _ in table.columns].index(column)
    found: list[str | None] = table.rows.column(place).to_pylist()
    return found


class TestValues:
    def test_each_type_has_its_own(self, postgres: PostgresServer) -> None:
        given_columns = {
            "small smallint": ("-7", "BIGINT", "-7"),
            "big bigint": ("9223372036854775807", "BIGINT", "9223372036854775807"),
            "money_text money": ("'1.5'", "VARCHAR", "$1.50"),
            "num numeric": (
                "12345678901234567890.123456789012345678",
                "DECIMAL(38,18)",
                "12345678901234567890.123456789012345678",
            ),
            "wide numeric": ("1e38", "VARCHAR", "1" + "0" * 38),
            "narrow numeric": ("1e-38", "DECIMAL(38,38)", "0." + "0" * 37 + "1"),
            "nan numeric": ("'NaN'", "DECIMAL(38,0)", None),
            "price double precision": ("1e-7", "DECIMAL(38,7)", "0.0000001"),
            "large double precision": ("1.5e17", "DECIMAL(38,0)", "150000000000000000"),
            "single real": ("0.1", "DECIMAL(38,1)", "0.1"),
            "yes boolean": ("true", "BOOLEAN", "true"),
            "naive timestamp": (
                "'2026-05-14 01:02:03.000004'",
                "TIMESTAMP",
                "2026-05-14 01:02:03.000004",
            ),
            "zoned timestamptz": (
                "'2026-05-14 01:00:00+05'",
                "TIMESTAMP WITH TIME ZONE",
                "2026-05-13 20:00:00+00",
            ),
            "day date": ("'2026-05-14'", "DATE", "2026-05-14"),
            "word varchar(9)": ("'a,\"b\"'", "VARCHAR", 'a,"b"'),
            "nothing text": ("''", "VARCHAR", ""),
            "unknown text": ("null", "VARCHAR", None),
            "bytes bytea": ("'\\x00ff'", "BLOB", "00ff"),
            "parts json": ("'{\"n\": 0.10}'", "VARCHAR", '{"n": 0.10}'),
            "many integer[]": ("'{1,2}'", "VARCHAR", "{1,2}"),
            "ident uuid": (
                "'00000000-0000-0000-0000-00000000000a'",
                "VARCHAR",
                "00000000-0000-0000-0000-00000000000a",
            ),
            "amount coins": ("0.50", "DECIMAL(38,2)", "0.50"),
            "mood moods": ("'good'", "VARCHAR", "good"),
        }
        database = postgres.database(
            "create domain coins as numeric check (value > 0)",
            "create type moods as enum ('good', 'bad')",
            f"create table t ({', '.join(given_columns)})",
            f"insert into t values ({', '.join(value for value, *_ in given_columns.values())})",
        )
        table = read(postgres, database)["t"]
        for declared, (_, kind, said) in given_columns.items():
            name = declared.split()[0]
            assert dict(table.columns)[name] == kind, name
            assert values(table, name) == [said], name

    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(floats=FLOATS)
    @example(floats=[55159938666695380.0])  # Python and the server write other digits
    def test_a_float_is_the_number_that_the_server_writes(
        self, floats: list[float | None], postgres: PostgresServer
    ) -> None:
        database = self.floats(postgres)
        with closing(postgres.connected(database)) as bot:
            bot.execute("truncate t")
            with bot.cursor() as cursor:
                cursor.executemany("insert into t (a) values (%s)", [(one,) for one in floats])
            told = bot.execute("select a::text from t order by id").fetchall()
        found = values(read(postgres, database)["t"], "a")
        for given_one, (server, *_), text in zip(floats, told, found, strict=True):
            if given_one is None or given_one != given_one:  # noqa: PLR0124 - NaN
                assert text is None
            else:
                assert text is not None
                assert "e" not in text
                assert Decimal(text) == Decimal(server)
                assert float(text) == given_one

    kept: str = ""

    def floats(self, server: PostgresServer) -> str:
        if not TestValues.kept:
            TestValues.kept = server.database(
                "create table t (id bigint generated always as identity primary key,"
                " a double precision)"
            )
        return TestValues.kept

    def test_an_infinite_number_is_refused(self, postgres: PostgresServer) -> None:
        database = postgres.database("create table t (a real)", "insert into t values ('inf')")
        assert 'infinite number ("public"."t", column a)' in refusal(postgres.url(database))

    def test_a_key_is_the_primary_key_and_else_what_the_row_says(
        self, postgres: PostgresServer
    ) -> None:
        database = postgres.database(
            "create table keyed (a text, b text, n int, primary key (b, a))",
            "insert into keyed values ('x', 'y,z', 1), ('z'',''x', 'y', 1)",
            "create table bare (a int)",
            "insert into bare values (1), (1), (null)",
        )
        found = read(postgres, database)
        assert set(found["keyed"].rows.column(0).to_pylist()) == {
            "'y,z','x'",
            "'y','z'',''x'",
        }
        ids = found["bare"].rows.column(0).to_pylist()
        assert len(set(ids)) == 3

    def test_hostile_names_do_nothing(self, postgres: PostgresServer) -> None:
        database = postgres.database(
            'create table "t""; drop table x; --" ("a""b" int, "order" int)',
            'insert into "t""; drop table x; --" values (1, 2)',
        )
        (table,) = read(postgres, database).values()
        assert (values(table, 'a"b'), values(table, "order")) == (["1"], ["2"])


class TestTables:
    def test_tables_views_and_partitions_once(self, postgres: PostgresServer) -> None:
        database = postgres.database(
            "create table t (a int) partition by list (a)",
            "create table t_1 partition of t for values in (1)",
            "insert into t values (1)",
            "create view v as select a from t",
            "create schema hidden create table h (a int)",
        )
        found = read(postgres, database)
        assert set(found) == {"t", "v"}
        assert values(found["t"], "a") == values(found["v"], "a") == ["1"]
        url = postgres.url(database, "postgres") + "&options=-csearch_path%3Dhidden"
        assert set(asyncio.run(PostgresReader(url).read(lambda _table: True))) == {"h"}

    def test_only_what_is_wanted_is_read(self, postgres: PostgresServer) -> None:
        database = postgres.database("create table t (a int)", "create table keys (a int)")
        with closing(postgres.connected(database)) as bot:
            bot.execute("revoke all on keys from reader")
        assert set(read(postgres, database, "t")) == {"t"}
        said = refusal(postgres.url(database))
        assert "permission denied for table keys" in said
        assert "grant its user select" in said

    def test_all_tables_are_of_one_instant(self, postgres: PostgresServer) -> None:
        database = postgres.database(
            "create table z (a int)",
            "create view slow as select pg_sleep(1)::text as waited, count(*) as n from z",
        )
        done = threading.Event()

        def write() -> None:
            with closing(postgres.connected(database)) as bot:
                for _ in range(200):
                    (row,) = bot.execute(
                        "select count(*) from pg_stat_activity where datname = %s"
                        " and application_name = 'recon' and wait_event = 'PgSleep'",
                        [database],
                    ).fetchall()
                    if row[0]:
                        bot.execute("insert into z values (1)")
                        done.set()
                        return
                    time.sleep(0.01)

        writer = threading.Thread(target=write)
        writer.start()
        found = read(postgres, database)
        writer.join()
        assert done.is_set()
        assert values(found["slow"], "n") == ["0"]
        assert found["z"].rows.num_rows == 0

    def test_nothing_can_be_written(self, postgres: PostgresServer) -> None:
        database = postgres.database(
            "create table t (a int)",
            "create function f() returns int security definer language sql"
            " as 'insert into t values (1) returning a'",
            "create view v as select f()",
        )
        assert "read-only transaction" in refusal(postgres.url(database))
        with closing(postgres.connected(database)) as bot:
            assert bot.execute("select * from t").fetchall() == []

    def test_rows_that_a_policy_hides_are_not_missing(self, postgres: PostgresServer) -> None:
        database = postgres.database(
            "create table t (a int)",
            "insert into t values (1)",
            "alter table t enable row level security",
        )
        assert "row-level security" in refusal(postgres.url(database))

    def test_names_that_sql_takes_for_one_are_refused(self, postgres: PostgresServer) -> None:
        columns = postgres.database('create table t (a int, "A" int)')
        assert "columns of equal names in SQL" in refusal(postgres.url(columns))
        tables = postgres.database("create table t (a int)", 'create table "T" (a int)')
        assert "tables of equal names in SQL" in refusal(postgres.url(tables))

    def test_a_database_without_tables_is_refused(self, postgres: PostgresServer) -> None:
        assert "holds no table" in refusal(postgres.url(postgres.database()))


class TestConnections:
    def test_a_wrong_password_is_named_and_not_shown(self, postgres: PostgresServer) -> None:
        url = postgres.url(postgres.database())
        said = refusal(url, "wrong-canary")
        assert "database_password" in said
        assert "wrong-canary" not in said

    def test_what_is_not_there_is_named(self, postgres: PostgresServer) -> None:
        assert 'database "none" does not exist' in refusal(postgres.url("none"))
        assert "onnection refused" in refusal("postgresql://reader@127.0.0.1:1/bot")
        assert "cannot be read" in refusal(f"postgresql://reader@/b?host={postgres.folder}/none")
        assert "sslmod" in refusal("postgresql://reader@127.0.0.1/bot?sslmod=require")

    def test_a_server_that_says_nothing_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader, "CONNECT_LIMIT_S", 2)  # libpq's own least
        with silent_server() as port:
            began = time.monotonic()
            assert "cannot be" in refusal(f"postgresql://reader@127.0.0.1:{port}/bot")
            assert time.monotonic() - began < 15

    def test_a_query_that_takes_too_long_is_given_up(self, postgres: PostgresServer) -> None:
        database = postgres.database("create view v as select pg_sleep(60)::text as a")
        reader = PostgresReader(postgres.url(database), PASSWORD)
        books = WholeBooks("bot", reader, now=lambda: NOW, limit_s=0.5)
        began = time.monotonic()
        with pytest.raises(UnreadableError, match=r"took longer than 0\.5 s"):
            snapshot(books)
        assert time.monotonic() - began < 10
        with closing(postgres.connected(database)) as bot:
            for _ in range(100):
                rows = bot.execute(
                    "select 1 from pg_stat_activity where datname = %s and state = 'active'"
                    " and application_name = 'recon'",
                    [database],
                ).fetchall()
                if not rows:
                    break
                time.sleep(0.05)
            assert rows == []

    def test_a_table_that_is_locked_is_not_waited_for(
        self, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(reader._SETTINGS, "lock_timeout", "100ms")
        database = postgres.database("create table t (a int)")
        with closing(postgres.connected(database)) as bot, bot.transaction():
            bot.execute("lock table t in access exclusive mode")
            assert "was locked for" in refusal(postgres.url(database))

    def test_no_connection_is_left(self, postgres: PostgresServer) -> None:
        database = postgres.database("create table t (a int)")
        read(postgres, database)
        with closing(postgres.connected(database)) as bot:
            for _ in range(100):
                rows = bot.execute(
                    "select 1 from pg_stat_activity where application_name = 'recon'"
                ).fetchall()
                if not rows:
                    break
                time.sleep(0.05)
            assert rows == []


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen on a port, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def greedy() -> Iterator[tuple[int, list[bytes]]]:
    """Yield the port of a server without TLS that asks for the password, and the bytes it got."""
    sent: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with closing(connection):
                connection.settimeout(5)
                if connection.recv(8)[4:] != b"\x04\xd2\x16\x2f":  # a request for TLS
                    return
                connection.sendall(b"N")
                connection.recv(4096)
                connection.sendall(b"R\x00\x00\x00\x08\x00\x00\x00\x03")  # the password, in clear
                sent.append(connection.recv(4096))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], sent
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("host", "is_sent"),
    [
        ("books.example", False),
        ("127.0.0.1.evil.com", False),
        ("books.example,127.0.0.1", False),
        ("127.0.0.1", True),
        ("localhost", True),
    ],
)
def test_no_remote_server_is_sent_a_password_in_the_clear(*, host: str, is_sent: bool) -> None:
    with greedy() as (port, sent):
        addresses = ",".join(["127.0.0.1"] * (1 + host.count(",")))
        said = refusal(f"postgresql://u@/db?host={host}&hostaddr={addresses}&port={port}")
        assert any(PASSWORD.encode() in each for each in sent) is is_sent
        assert ("in the clear, without TLS" in said) is not is_sent


def test_a_server_that_must_have_tls_is_sent_nothing_without() -> None:
    with greedy() as (port, sent):
        where = f"postgresql://u@books.example:{port}/db?hostaddr=127.0.0.1"
        refusal(f"{where}&sslmode=require")
        assert b"".join(sent) == b""
        refusal(f"{where}&require_auth=password")
        assert PASSWORD.encode() in b"".join(sent), "the URL says that it may be"
