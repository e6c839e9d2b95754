"""A bot's PostgreSQL database, read in one read-only transaction that sees one instant.

Every value is the server's text; only the exponent of a number is expanded. The server chooses the
digits of a float: from PostgreSQL 12 on, the fewest that identify it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from connectors.bot_databases.arrow_columns import Kind, Texts
from connectors.bot_databases.arrow_text import Digits, lenient_text, plain_numbers
from connectors.bot_databases.csv_files import csv_columns
from connectors.bot_databases.meter import Meter
from connectors.bot_databases.snapshot import (
    IsWanted,
    TableRows,
    UnreadableError,
    refuse_twins,
    with_ids,
)
from recon.core.limits import KB, Limits
from recon.core.sql_names import quoted
from recon.errors import afterwards_async
from recon.outside_text import excerpt
from recon.system.web_address import is_loopback

if TYPE_CHECKING:
    import psycopg

CONNECT_LIMIT_S = 10
LOCK_LIMIT_S = 5
STATEMENT_LIMIT_S = 120
_LINES_AT_ONCE = 8 << 20
"""The bytes of rows that are parsed at once."""

_KINDS: dict[str, Kind] = {
    "int2": "BIGINT",
    "int4": "BIGINT",
    "int8": "BIGINT",
    "numeric": "DECIMAL",
    "float4": "DECIMAL",
    "float8": "DECIMAL",
    "bool": "BOOLEAN",
    "bytea": "BLOB",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
}
"""The kind of values, by the server's name of their type. All others are text."""

_SETTINGS = {
    "statement_timeout": f"{STATEMENT_LIMIT_S}s",
    "lock_timeout": f"{LOCK_LIMIT_S}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_LIMIT_S}s",
    "extra_float_digits": "3",
    "datestyle": "ISO",
    "timezone": "UTC",
    "row_security": "off",  # rows that a policy hides raise an error: not missing silently
}
_TABLES = """
select c.oid, textsend(n.nspname::text), textsend(c.relname::text)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
  and pg_catalog.pg_table_is_visible(c.oid)
  and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%'
order by c.relname
"""
_COLUMNS = """
select textsend(a.attname::text), coalesce(b.typname, t.typname)::text,
  coalesce(array_position(i.indkey::smallint[], a.attnum), -1)
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_type b on b.oid = nullif(t.typbasetype, 0)
left join pg_catalog.pg_index i on i.indrelid = a.attrelid and i.indisprimary
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""


class _Column(NamedTuple):
    """A column: its name, the server's name of its type, and its place in the primary key or -1."""

    name: str
    type: str
    key_place: int

    @property
    def kind(self) -> Kind:
        return _KINDS.get(self.type, "VARCHAR")

    def expression(self, most: int) -> str:
        """Return the SQL of its value as text, cut just above `most` characters.

        NaN is null.
        """
        if self.kind == "BLOB":
            return f"encode(substr({quoted(self.name)}, 1, {most // 2 + 1}), 'hex')"
        text = f"{quoted(self.name)}::text"
        return f"nullif({text}, 'NaN')" if self.kind == "DECIMAL" else f"left({text}, {most + 1})"


class PostgresReader:
    """Reads the tables and views that a user sees without naming a schema.

    `url` is a URL of libpq without a password. Raises UnreadableError for an invalid URL.
    """

    def __init__(
        self,
        url: str,
        password: str = "",
        limits: Limits = Limits(),
    ) -> None:
        self._url = url
        self._password = password
        self._limits = limits
        self.source = url.partition("?")[0]

    async def read(self, is_wanted: IsWanted) -> dict[str, TableRows]:
        """Return every wanted table, all as of one instant. Raises UnreadableError."""
        meter = Meter(self.source, self._limits)
        async with self._connected() as connection:
            tables: dict[str, TableRows] = {}
            found = await (await connection.execute(_TABLES)).fetchall()
            for oid, schema, name in found:
                table = lenient_text(name)
                if is_wanted(table):
                    place = f"{quoted(lenient_text(schema))}.{quoted(table)}"
                    tables[table] = await self._table(connection, oid, place, meter)
            return tables

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Yield a connection in a read-only transaction, which is rolled back."""
        try:
            import psycopg
        except ImportError:
            remedy = "run  pip install 'recon-pnl[postgres]'"
            raise UnreadableError(self.source, "needs the library psycopg", remedy) from None
        with self._readably():
            connection = await psycopg.AsyncConnection.connect(
                self._url,
                password=self._password or None,
                require_auth=_guard(self._url) if self._password else None,
                connect_timeout=CONNECT_LIMIT_S,
                application_name="recon",
                client_encoding="utf8",
            )
            async with afterwards_async(connection.close):
                await connection.set_read_only(True)
                await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
                for name, value in _SETTINGS.items():
                    await connection.execute("select set_config(%s, %s, true)", [name, value])
                yield connection

    async def _table(
        self, connection: psycopg.AsyncConnection[Any], oid: int, place: str, meter: Meter
    ) -> TableRows:
        columns = [
            _Column(lenient_text(name), kind, key_place)
            for name, kind, key_place in await (
                await connection.execute(_COLUMNS, [oid])
            ).fetchall()
        ]
        meter.columns(place, len(columns))
        refuse_twins(f"{self.source} {place}", "column", [one.name for one in columns])
        key = sorted((one for one in columns if one.key_place >= 0), key=lambda one: one.key_place)
        literals = ", ".join(f"quote_nullable({quoted(one.name)}::text)" for one in key)
        most = self._limits.value_kb * KB
        chosen = [f"concat_ws(',', {literals})" if key else "null::text"]
        chosen += [one.expression(most) for one in columns]
        # One row above the limit shows that it is exceeded.
        query = f"select {', '.join(chosen)} from {place} limit {self._limits.rows + 1}"
        chunks: list[list[pa.ChunkedArray]] = []
        async with (
            connection.cursor() as cursor,
            cursor.copy(f"copy ({query}) to stdout (format csv)".encode()) as rows,
        ):
            lines = bytearray()
            async for block in rows:  # each block has whole lines
                lines += block
                if len(lines) > _LINES_AT_ONCE:
                    chunks.append(self._columns(place, bytes(lines), len(chosen), meter))
                    lines.clear()
        chunks.append(self._columns(place, bytes(lines), len(chosen), meter))
        ids, *texts = (
            pa.chunked_array([part for one in found for part in one.chunks], pa.string())
            for found in zip(*chunks, strict=True)
        )
        read = {
            column.name: self._texts(place, column, found)
            for column, found in zip(columns, texts, strict=True)
        }
        return TableRows(
            with_ids({name: one.values for name, one in read.items()}, ids if key else None),
            [(name, one.duckdb_type()) for name, one in read.items()],
        )

    def _columns(self, place: str, lines: bytes, count: int, meter: Meter) -> list[pa.ChunkedArray]:
        if not lines:
            return [pa.chunked_array([], pa.string())] * count
        columns, _ = csv_columns(f"{self.source} {place}", lines, count, meter)
        return columns

    def _texts(self, place: str, column: _Column, values: pa.ChunkedArray) -> Texts:
        if column.kind != "DECIMAL":
            return Texts(values, column.kind)
        if pc.any(pc.match_substring(values, "Infinity")).as_py():
            what = f"holds an infinite number ({place}, column {column.name})"
            raise UnreadableError(self.source, what, "correct that row")
        digits = Digits()
        plain = [plain_numbers(chunk, digits) for chunk in values.chunks]
        return Texts(pa.chunked_array(plain, pa.string()), "DECIMAL", digits)

    @contextmanager
    def _readably(self) -> Iterator[None]:
        """Raise an error of the server or the network as an UnreadableError with a remedy."""
        import psycopg

        try:
            yield
        except UnicodeDecodeError:
            _, remedy = _UNREAD
            raise UnreadableError(self.source, "sends text that is not UTF-8", remedy) from None
        except psycopg.Error as error:
            said = excerpt(" ".join(str(error).split()), 300)
            reason = _REASONS.get(error.sqlstate or "", _UNREAD)
            if "cleartext password" in said:
                reason = _IN_THE_CLEAR
            raise UnreadableError(self.source, f"{reason[0]} ({said})", reason[1]) from None


def _guard(url: str) -> str | None:
    """Return the `require_auth` that keeps libpq from sending a password in the clear, or None.

    libpq continues without TLS if the server does not offer it: any host that answers may then ask
    for the password itself. A hash of the password (scram-sha-256) is still sent. With
    `sslmode=require` or stricter in the URL, TLS is certain and no guard is needed.
    """
    from psycopg.conninfo import conninfo_to_dict

    named = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    hosts = ",".join(filter(None, [named.get("host"), named.get("hostaddr")])).split(",")
    is_here = all(not host or host.startswith(("/", "@")) or is_loopback(host) for host in hosts)
    if is_here or named.get("sslmode") in _WITH_TLS or "require_auth" in named:
        return None
    return "!password"


_WITH_TLS = {"require", "verify-ca", "verify-full"}
_UNREAD = (
    "cannot be read",
    "start the server, or correct `database` (host, database, user) or `database_password`",
)
_IN_THE_CLEAR = (
    "asks for the password in the clear, without TLS",
    "write ?sslmode=verify-full or require into `database`, or let the server use scram-sha-256",
)
_REASONS = {
    "42501": (
        "may not be read",
        "grant its user select on that table, and bypassrls where it has policies",
    ),
    "55P03": (f"was locked for {LOCK_LIMIT_S} s", "run again when the bot is not being upgraded"),
    "57014": (
        f"took longer than {STATEMENT_LIMIT_S} s",
        "run again, or create a view with only the needed rows",
    ),
}
"""The meaning of an SQLSTATE, and the remedy. A connection that failed has no SQLSTATE."""
