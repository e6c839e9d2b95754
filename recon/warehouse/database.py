"""The warehouse: one DuckDB file, one writer, one transaction a run.

`Warehouse` opens the file, lands the records of connectors in the audit log, and runs the queries
of `sql/`. It knows no venue and no money.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import duckdb
import pyarrow as pa

from recon.core.coverage import Interval
from recon.core.records import Coverage, Evidence, Record, Table
from recon.core.sql_names import quoted
from recon.errors import afterwards, clean_up
from recon.system.interruption import heed, interrupt_too
from recon.system.resources import sql_root

Parameters = Sequence[object] | Mapping[str, object]
TIME = pa.timestamp("us")
INCOMING = pa.schema(
    [("kind", pa.string()), ("id", pa.string()), ("payload", pa.string()), ("at", TIME)]
)
AGAIN = pa.schema(
    [
        ("venue", pa.string()),
        ("account", pa.string()),
        ("since", TIME),
        ("kind", pa.string()),
        ("id", pa.string()),
    ]
)
STOOD = pa.schema([("kind", pa.string()), ("id", pa.string()), ("payload", pa.string())])
"""Records whose latest state has changed, with the payload before: null if there was none."""
PRESENT = pa.schema([("kind", pa.string()), ("id", pa.string())])
LANDED_AT_ONCE = 100_000
"""How many rows of a table have their payloads in memory at one time."""
LANDING_MEMORY = "400MB"
"""DuckDB's memory limit while it lands more rows than that."""
REPLACES = "-- replaces:"
"""Begins the line of a query that names the rows of its table, `k`, that it replaces."""
VIEW = "-- view"
"""The line that makes a query a view: it is cheaper to run again than to store."""
LETS = "-- let:"
"""Begins a line, `name = query`, with a value that a query reads as `getvariable('name')`."""


class Again(NamedTuple):
    """Unchanged records to stage again: an account's from `since` (UTC) on, or a single record."""

    venue: str
    account: str
    since: datetime | None = None
    kind: str | None = None
    id: str | None = None


class Warehouse:
    """An open warehouse. Use as a context manager; every write happens inside `transaction()`."""

    def __init__(self, path: Path, *, is_read_only: bool = False) -> None:
        self._landed_at = datetime.max  # noqa: DTZ901 - naive UTC, as everywhere in here
        self._db = duckdb.connect(str(path), read_only=is_read_only)
        interrupt_too(self)
        self._db.execute("set timezone = 'UTC'")
        self._db.execute("set enable_external_access = false")
        self._db.execute("set allowed_configs = ['memory_limit']")
        self._db.execute("set lock_configuration = true")
        if is_read_only:
            return
        self._set_up("macros.sql")
        if self._is_of_version_1():
            self._set_up("raw_version_1/migrate.sql")
        self._set_up("raw/tables.sql")

    def interrupt(self) -> None:
        """Interrupt the running query, which then raises an error."""
        self._db.interrupt()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        clean_up(self._db.close, after=error)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the writes of the block atomically."""
        self._db.begin()
        try:
            yield
            heed()
        except BaseException as error:
            clean_up(self._db.rollback, after=error)
            raise
        self._db.commit()

    def checkpoint(self) -> None:
        """Merge the write-ahead log into the file."""
        self._db.execute("checkpoint")

    def land(
        self,
        run: str,
        venue: str,
        account: str,
        items: Iterable[Record | Table | Coverage],
        at: datetime,
    ) -> pa.Table:
        """Add one fetch to the audit log: new, changed and deleted records, and its coverage.

        A known record with the same payload adds nothing. Return the changed records with their
        payloads before: `STOOD`.
        """
        records: dict[tuple[str, str], Record] = {}
        tables: list[Table] = []
        statements: list[Coverage] = []
        for item in items:
            if isinstance(item, Record):
                records[item.kind, item.id] = item
            elif isinstance(item, Table):
                tables.append(item)
            else:
                statements.append(item)
        where = {"venue": venue, "account": account, "at": _naive(at), "run": run}
        self._landed_at = min(self._landed_at, _naive(at))
        pieces = self._pieces(records.values(), tables)
        with self._frugal(sum(table.batches.num_rows for table in tables)):
            stood = [self._land_records(piece, where) for piece in pieces]
        whole = [
            kind
            for statement in statements
            if statement.is_snapshot and statement.status == "complete"
            for kind in statement.kinds
        ]
        if whole:
            stood.append(self._write_tombstones(records, tables, whole, where))
        self._land_coverage(statements, where)
        return pa.concat_tables(stood)

    def served(self, venue: str, account: str, evidence: Evidence, kind: str) -> list[Interval]:
        """Return every interval over which one kind of evidence was served completely."""
        rows = self._db.execute(
            """
            select served_from, served_to from raw.coverage
            where venue = ? and account = ? and evidence = ? and kind = ?
              and status in ('complete', 'partial') and served_from < served_to
            """,
            [venue, account, evidence, kind],
        ).fetchall()
        return [Interval(a.replace(tzinfo=UTC), b.replace(tzinfo=UTC)) for a, b in rows]

    def select(self, run: str, again: Collection[Again]) -> None:
        """Set the records of `raw.staged_records`: those that `run` has landed, and `again`."""
        rows = [one._asdict() | {"since": one.since and _naive(one.since)} for one in again]
        self._db.execute("delete from raw.restage_requests")
        with self.registered("incoming", pa.Table.from_pylist(rows, schema=AGAIN)):
            self._db.execute("insert into raw.restage_requests by name from incoming")
        self._db.execute("set variable run = $run", {"run": run})
        self._db.execute("set variable landed_at = $at", {"at": self._landed_at})
        self._let("again_since = select min(since) from raw.restage_requests")

    def _set_up(self, name: str) -> None:
        self._execute((sql_root() / name).read_text(encoding="utf-8"))

    def _is_of_version_1(self) -> bool:
        return self.has("raw", "standing")

    def has(self, schema: str, name: str) -> bool:
        """Return whether the table exists."""
        found = self._db.execute(
            "select 1 from duckdb_tables() where schema_name = ? and table_name = ?", [schema, name]
        )
        return bool(found.fetchall())

    def prepare(self, folder: str, names: Collection[str]) -> None:
        """Create the missing tables of `sql/<folder>` with these names, empty."""
        self._db.execute(f"create schema if not exists {quoted(folder)}")
        texts, there = dict(self.queries(folder)), self._tables(folder)
        for name in names:
            if name not in there:
                self._make_empty(f"{quoted(folder)}.{quoted(name)}", texts[name])

    def keep(self, schema: str, name: str, columns: pa.Schema) -> None:
        """Create a table with these columns, empty, if it is missing."""
        self._db.execute(f"create schema if not exists {quoted(schema)}")
        with self.registered("no_rows", columns.empty_table()):
            self._make_empty(f"{quoted(schema)}.{quoted(name)}", "from no_rows")

    def build(self, folder: str, *, only: str | None = None, empty: Collection[str] = ()) -> None:
        """Build a table from each query of `sql/<folder>`, or from `only` one, in dependency order.

        A table is rebuilt, unless its query names the rows that it replaces: then the others stay.
        Queries whose names begin with one of `empty` have nothing to read and are not run.
        """
        self._db.execute(f"create schema if not exists {quoted(folder)}")
        texts, there = dict(self.queries(folder)), self._tables(folder)
        for name in build_order(folder, texts) if only is None else [only]:
            heed()
            table, text = f"{quoted(folder)}.{quoted(name)}", texts[name]
            for variable in _after(text, LETS):
                self._let(variable)
            replaced = _after(text, REPLACES)
            what = "view" if VIEW in text.splitlines() else "table"
            if what == "table" and name.startswith(tuple(empty)):
                if name not in there:
                    self._make_empty(table, text)
                elif not replaced:
                    self._db.execute(f"delete from {table}")
            elif replaced and name in there:
                self._execute(f"delete from {table} k where {replaced[0]}")
                self._execute(f"insert into {table} by name from (\n{text}\n)")
            else:
                self._execute(f"create or replace {what} {table} as {text}")

    def drop(self, schemas: Collection[str]) -> None:
        """Drop these schemas, which are rebuilt from raw."""
        for schema in schemas:
            self._db.execute(f"drop schema if exists {quoted(schema)} cascade")

    def forget(self, account: str, schemas: Collection[str]) -> None:
        """Delete an account's rows in these schemas, which are rebuilt from raw."""
        tables = self.rows(
            """
            select schema_name, table_name
            from duckdb_columns() semi join duckdb_tables() using (schema_name, table_name)
            where column_name = 'account' and list_contains($schemas, schema_name)
            """,
            {"schemas": list(schemas)},
        )
        for table in tables:
            name = f"{quoted(table['schema_name'])}.{quoted(table['table_name'])}"
            self._db.execute(f"delete from {name} where account = ?", [account])

    def store(self, schema: str, name: str, rows: pa.Table) -> None:
        """Replace the table `schema.name` with `rows`."""
        self._db.execute(f"create schema if not exists {quoted(schema)}")
        with self.registered("incoming_rows", rows):
            self._db.execute(
                f"create or replace table {quoted(schema)}.{quoted(name)} as from incoming_rows"
            )

    def append(self, schema: str, name: str, rows: pa.Table) -> None:
        """Add rows to a table that has their columns."""
        with self.registered("incoming_rows", rows):
            self._db.execute(
                f"insert into {quoted(schema)}.{quoted(name)} by name from incoming_rows"
            )

    def arrow(self, query: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Return the rows of a query as an Arrow table."""
        return self._db.sql(query, params=list(parameters)).to_arrow_table()

    def run(self, statement: str, parameters: Parameters = ()) -> None:
        """Run one statement without a result."""
        self._db.execute(statement, parameters)

    def batches(self, query: str, size: int = 65_536) -> pa.RecordBatchReader:
        """Return the rows of a query as a stream of Arrow batches; read it before the next call."""
        return self._db.sql(query).to_arrow_reader(size)

    def rows(self, query: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """Return the rows of a query; numbers are Decimal or int, times naive UTC."""
        cursor = self._execute(query, parameters)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def queries(self, folder: str) -> list[tuple[str, str]]:
        """Return the name and text of each query of `sql/<folder>`, in order of the names.

        The name of a query in a subfolder begins with that of the subfolder: `okx/fills.sql` is
        `okx_fills`.
        """
        root = sql_root() / folder
        paths = {
            "_".join(path.relative_to(root).with_suffix("").parts): path
            for path in root.rglob("*.sql")
        }
        return [(name, paths[name].read_text(encoding="utf-8")) for name in sorted(paths)]

    def rows_in_order(self, query: str, size: int = 10_000) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as tuples, a batch at a time from the database."""
        cursor = self._db.execute(query)
        while batch := cursor.fetchmany(size):
            yield from batch

    def _execute(self, text: str, parameters: Parameters = ()) -> duckdb.DuckDBPyConnection:
        """Run statements, the last one with these parameters."""
        *before, last = _parsed(text)
        for statement in before:
            self._db.execute(statement)
        return self._db.execute(last, parameters)

    def _let(self, variable: str) -> None:
        """Set a variable, `name = query`. DuckDB knows its value before it reads a table."""
        name, _, query = variable.partition("=")
        self._db.execute(f"set variable {name.strip()} = ({query})")

    def _tables(self, schema: str) -> set[str]:
        """Return the names of a schema's tables."""
        rows = self.rows("select table_name from duckdb_tables() where schema_name = ?", [schema])
        return {row["table_name"] for row in rows}

    def _make_empty(self, table: str, query: str) -> None:
        """Create a table with the columns of a query, empty, if it is missing.

        It does not use `as … limit 0`: DuckDB 2.0.0 loses a large insert into a table that was made
        from no rows in the same transaction.
        """
        described = self._execute(f"describe from (\n{query}\n)").fetchall()
        columns = ", ".join(f"{quoted(name)} {kind}" for name, kind, *_ in described)
        self._db.execute(f"create table if not exists {table} ({columns})")

    def _with_payloads(self, table: Table) -> pa.Table:
        """Return the rows of a table as `INCOMING`, each with a JSON object as its payload."""
        names = table.batches.column_names[1:]
        places = [f"c{number}" for number, _ in enumerate(names)]
        fields = ", ".join(
            f"{_literal(name)}, {place}" for name, place in zip(names, places, strict=True)
        )
        with self.registered("fields", table.batches.rename_columns(["id", *places])):
            return (
                self._db.sql(
                    f"select $kind as kind, id, json_object({fields})::varchar as payload, "
                    'null::timestamp as "at" from fields',
                    params={"kind": table.kind},
                )
                .to_arrow_table()
                .cast(INCOMING)
            )

    @contextmanager
    def _frugal(self, rows: int) -> Iterator[None]:
        """Limit DuckDB's memory for many `rows`, so that it spills uncommitted rows to disk."""
        if rows <= LANDED_AT_ONCE:
            yield
            return
        ((before,),) = self._db.execute("select current_setting('memory_limit')").fetchall()
        with suppress(duckdb.OutOfMemoryException):  # memory in use cannot be spilled
            self._db.execute(f"set memory_limit = '{LANDING_MEMORY}'")
        with afterwards(lambda: self._db.execute(f"set memory_limit = '{before}'")):
            yield

    def _pieces(self, records: Collection[Record], tables: Sequence[Table]) -> Iterator[pa.Table]:
        """Yield records and tables as `INCOMING`, in pieces; at least one piece."""
        piece, size = [_incoming(records)], len(records)
        for table in tables:
            for begin in range(0, table.batches.num_rows, LANDED_AT_ONCE):
                rows = table.batches.slice(begin, LANDED_AT_ONCE)
                if size and size + rows.num_rows > LANDED_AT_ONCE:
                    yield pa.concat_tables(piece)
                    piece, size = [], 0
                piece.append(self._with_payloads(Table(table.kind, rows)))
                size += rows.num_rows
        yield pa.concat_tables(piece)

    def _land_records(self, incoming: pa.Table, where: Mapping[str, object]) -> pa.Table:
        with self.registered("incoming", incoming):
            return self._add_versions(
                """
                with unknown as (
                  select i.kind, i.id
                  from incoming i
                  anti join raw.latest_state s
                    on s.venue = $venue and s.account = $account
                    and s.kind = i.kind and s.id = i.id
                )

                select i.kind, i.id, coalesce(l.version, 0) + 1 as version, i.payload,
                  sha256(i.payload) as sha256, i.at,
                  l.version is not null and l.happened_at is distinct from i.at as is_moved
                from incoming i
                left join (
                  select kind, id, version, sha256, null::timestamp as happened_at
                  from raw.latest_state
                  where venue = $venue and account = $account
                  union all
                  select r.kind, r.id, max(r.version) as version,
                    arg_max_null(r.sha256, r.version) as sha256,
                    arg_max_null(r.at, r.version) as happened_at
                  from raw.records r
                  semi join unknown u on u.kind = r.kind and u.id = r.id
                  where r.venue = $venue and r.account = $account
                  group by r.kind, r.id
                ) l on l.kind = i.kind and l.id = i.id
                where l.version is null or l.sha256 is distinct from sha256(i.payload)
                """,
                where,
            )

    def _write_tombstones(
        self,
        records: Collection[tuple[str, str]],
        tables: Sequence[Table],
        kinds: Sequence[str],
        where: Mapping[str, object],
    ) -> pa.Table:
        """Add a version without payload to each record that a snapshot no longer has."""
        present = [
            pa.table([[kind for kind, _ in records], [name for _, name in records]], PRESENT)
        ]
        for table in tables:
            ids = table.batches.column(0)
            kind = pa.chunked_array([pa.repeat(table.kind, len(ids))])
            present.append(pa.table([kind, ids], PRESENT))
        with self.registered("present", pa.concat_tables(present)):
            return self._add_versions(
                """
                select kind, id, version + 1 as version, null::varchar as payload,
                  null::varchar as sha256, null::timestamp as "at", false as is_moved
                from raw.latest_state s
                anti join present p on p.kind = s.kind and p.id = s.id
                where venue = $venue and account = $account and payload is not null
                  and list_contains($kinds, kind)
                """,
                {**where, "kinds": list(kinds)},
            )

    def _add_versions(self, query: str, parameters: Mapping[str, object]) -> pa.Table:
        """Append the rows of `query` to the log, and update the latest states.

        Return the changed records with their payloads before, as `STOOD`.
        """
        self._db.execute(
            f"create or replace temp table added as {query}", _named(query, parameters)
        )
        self._db.execute(
            """
            insert into raw.records
            select $venue, $account, kind, id, version, payload, sha256, $at, $run, a.at
            from added a
            """,
            {name: parameters[name] for name in ("venue", "account", "at", "run")},
        )
        place = {name: parameters[name] for name in ("venue", "account")}
        stood = self._db.sql(
            """
            delete from raw.latest_state s using added a
            where s.venue = $venue and s.account = $account and s.kind = a.kind and s.id = a.id
            returning s.kind, s.id, s.payload
            """,
            params=place,
        ).to_arrow_table()
        with self.registered("stood", stood):
            before = self.arrow(
                "select kind, id, s.payload from added a left join stood s using (kind, id) "
                'where a."at" is null'
            )
        self._db.execute(
            """
            insert into raw.latest_state
            select $venue, $account, kind, id, version, payload, sha256, $at
            from added a where a.at is null
            """,
            place | {"at": parameters["at"]},
        )
        self._db.execute(
            "insert into raw.retimed select $venue, $account, kind, id, version from added "
            "where is_moved",
            place,
        )
        self._db.execute("drop table added")
        return before.cast(STOOD)

    def _land_coverage(self, statements: Sequence[Coverage], where: Mapping[str, object]) -> None:
        for statement in statements:
            for kind in statement.kinds:
                self._db.execute(
                    f"insert into raw.coverage values ({', '.join('?' * 18)})",
                    [
                        where["run"],
                        where["venue"],
                        where["account"],
                        statement.evidence,
                        kind,
                        statement.status,
                        _naive(statement.asked_from),
                        _naive(statement.asked_to),
                        _naive(statement.served_from),
                        _naive(statement.served_to),
                        statement.pages,
                        statement.rows,
                        statement.is_snapshot,
                        statement.reason,
                        statement.first_id,
                        statement.last_id,
                        statement.retries,
                        statement.skew_ms,
                    ],
                )

    @contextmanager
    def registered(self, name: str, table: pa.Table) -> Iterator[None]:
        """Let queries in the block read `table` by a name."""
        self._db.register(name, table)
        with afterwards(lambda: self._db.unregister(name)):
            yield


def _incoming(records: Collection[Record]) -> pa.Table:
    return pa.table(
        {
            "kind": [r.kind for r in records],
            "id": [r.id for r in records],
            "payload": [r.payload for r in records],
            "at": [r.at and _naive(r.at) for r in records],
        },
        schema=INCOMING,
    )


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Sequence[duckdb.Statement]:
    """Return the statements of a text, which is parsed once in a process."""
    return duckdb.extract_statements(text)


def build_order(folder: str, texts: Mapping[str, str]) -> list[str]:
    """Return the names of a folder's queries, each after the queries that it reads.

    Raises ValueError for a cycle.
    """
    reads = {name: _words(text) for name, text in texts.items()}
    needs = {
        name: {other for other in texts if other != name and f"{folder}.{other}" in reads[name]}
        for name in texts
    }
    order: list[str] = []
    while needs:
        ready = sorted(name for name, needed in needs.items() if needed <= set(order))
        if not ready:
            raise ValueError(f"sql/{folder}: these queries read each other: {sorted(needs)}")
        order += ready
        needs = {name: needed for name, needed in needs.items() if name not in ready}
    return order


def _words(text: str) -> set[str]:
    """Return the words of a query, with the names of its tables, without its comments."""
    code = "\n".join(line.partition("--")[0] for line in text.splitlines())
    return set(code.replace("(", " ").replace(")", " ").replace(",", " ").split())


def _after(text: str, word: str) -> list[str]:
    """Return the rest of each line of a query that begins with `word`."""
    lines = text.splitlines()
    return [line.removeprefix(word).strip() for line in lines if line.startswith(word)]


def _named(query: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """Return the parameters that the query names. DuckDB refuses any other."""
    return {name: value for name, value in parameters.items() if f"${name}" in query}


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _naive(at: datetime) -> datetime:
    """Return an instant as a naive UTC time, as every `timestamp` in the warehouse is."""
    return at.astimezone(UTC).replace(tzinfo=None)
