"""The warehouse: one DuckDB file, one writer, one transaction a run.

`Warehouse` opens it, lands what connectors yield in the audit log, and runs the queries of `sql/`.
It knows no venue and no money.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from recon.coverage import Interval
from recon.domain import Coverage, Evidence, Record
from recon.identifiers import quoted
from recon.resources import sql_root

Parameters = Sequence[object] | Mapping[str, object]
INCOMING = pa.schema([("kind", pa.string()), ("id", pa.string()), ("payload", pa.string()),
                      ("sha256", pa.string())])  # fmt: skip


class Warehouse:
    """An open warehouse. Use as a context manager; every write happens inside `transaction()`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = duckdb.connect(str(path))
        self._db.execute("set timezone = 'UTC'")
        self._db.execute("set enable_external_access = false")
        self._db.execute("set lock_configuration = true")
        for name in ("macros.sql", "raw/tables.sql"):
            self._db.execute((sql_root() / name).read_text(encoding="utf-8"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing of it."""
        self._db.begin()
        try:
            yield
        except BaseException:
            self._db.rollback()
            raise
        self._db.commit()

    def land(
        self, run: str, venue: str, account: str, items: Iterable[Record | Coverage], at: datetime
    ) -> None:
        """Add one fetch to the audit log: new and changed records, gone ones, its coverage.

        A record that is there already, with the same payload, adds nothing.
        """
        records: dict[tuple[str, str], Record] = {}
        statements: list[Coverage] = []
        for item in items:
            if isinstance(item, Record):
                records[item.kind, item.id] = item
            else:
                statements.append(item)
        where = {"venue": venue, "account": account, "at": _naive(at), "run": run}
        self._land_records(records.values(), where)
        whole = [
            kind
            for statement in statements
            if statement.is_snapshot and statement.status == "complete"
            for kind in statement.kinds
        ]
        if whole:
            self._bury_the_gone(records, whole, where)
        self._land_coverage(statements, where)

    def served(self, venue: str, account: str, evidence: Evidence, kind: str) -> list[Interval]:
        """Return every interval over which one kind of evidence was served whole."""
        rows = self._db.execute(
            """
            select served_from, served_to from raw.coverage
            where venue = ? and account = ? and evidence = ? and kind = ?
              and status in ('complete', 'partial') and served_from < served_to
            """,
            [venue, account, evidence, kind],
        ).fetchall()
        return [Interval(a.replace(tzinfo=UTC), b.replace(tzinfo=UTC)) for a, b in rows]

    def build(self, folder: str) -> None:
        """Make each query of `sql/<folder>` a table, in the order in which they need each other."""
        self._db.execute(f"create schema if not exists {quoted(folder)}")
        texts = dict(self.queries(folder))
        for name in build_order(folder, texts):
            table = f"{quoted(folder)}.{quoted(name)}"
            self._db.execute(f"create or replace table {table} as {texts[name]}")

    def store(self, schema: str, name: str, rows: pa.Table) -> None:
        """Make `rows` the table `schema.name`, in place of what was there."""
        self._db.execute(f"create schema if not exists {quoted(schema)}")
        with self._registered("incoming_rows", rows):
            self._db.execute(
                f"create or replace table {quoted(schema)}.{quoted(name)} as from incoming_rows"
            )

    def rows(self, query: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """Return the rows of a query; numbers are Decimal or int, times naive UTC."""
        cursor = self._db.execute(query, parameters)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def queries(self, folder: str) -> list[tuple[str, str]]:
        """Return the name and the text of each query of `sql/<folder>`."""
        paths = sorted((sql_root() / folder).glob("*.sql"))
        return [(path.stem, path.read_text(encoding="utf-8")) for path in paths]

    def rows_in_order(self, query: str, size: int = 10_000) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query as tuples, a batch at a time from the database."""
        cursor = self._db.execute(query)
        while batch := cursor.fetchmany(size):
            yield from batch

    def _land_records(self, records: Iterable[Record], where: Mapping[str, object]) -> None:
        table = pa.Table.from_pylist(
            [
                {"kind": r.kind, "id": r.id, "payload": r.payload, "sha256": _digest(r.payload)}
                for r in records
            ],
            schema=INCOMING,
        )
        with self._registered("incoming", table):
            self._db.execute(
                """
                insert into raw.records
                select $venue, $account, i.kind, i.id, coalesce(l.version, 0) + 1, i.payload,
                  i.sha256, $at, $run
                from incoming i
                left join raw.latest l
                  on l.venue = $venue and l.account = $account and l.kind = i.kind and l.id = i.id
                where l.version is null or l.sha256 is distinct from i.sha256
                """,
                dict(where),
            )

    def _bury_the_gone(
        self,
        records: Collection[tuple[str, str]],
        kinds: Sequence[str],
        where: Mapping[str, object],
    ) -> None:
        """Add a version without payload to what a snapshot no longer holds."""
        present = pa.table(
            {"kind": [kind for kind, _ in records], "id": [name for _, name in records]},
            schema=pa.schema([("kind", pa.string()), ("id", pa.string())]),
        )
        with self._registered("present", present):
            self._db.execute(
                """
                insert into raw.records
                select venue, account, kind, id, version + 1, null, null, $at, $run
                from raw.latest l
                anti join present p on p.kind = l.kind and p.id = l.id
                where venue = $venue and account = $account and payload is not null
                  and list_contains($kinds, kind)
                """,
                {**where, "kinds": list(kinds)},
            )

    def _land_coverage(self, statements: Sequence[Coverage], where: Mapping[str, object]) -> None:
        for statement in statements:
            for kind in statement.kinds:
                self._db.execute(
                    f"insert into raw.coverage values ({', '.join('?' * 14)})",
                    [
                        where["run"], where["venue"], where["account"], statement.evidence, kind,
                        statement.status, _naive(statement.asked_from), _naive(statement.asked_to),
                        _naive(statement.served_from), _naive(statement.served_to),
                        statement.pages, statement.rows, statement.is_snapshot, statement.reason,
                    ],
                )  # fmt: skip

    @contextmanager
    def _registered(self, name: str, table: pa.Table) -> Iterator[None]:
        self._db.register(name, table)
        try:
            yield
        finally:
            self._db.unregister(name)


def build_order(folder: str, texts: Mapping[str, str]) -> list[str]:
    """Return the names of a folder's queries so that each comes after those it reads.

    Raises ValueError for a circle.
    """
    needs = {
        name: {other for other in texts if other != name and _reads(text, f"{folder}.{other}")}
        for name, text in texts.items()
    }
    order: list[str] = []
    while needs:
        ready = sorted(name for name, needed in needs.items() if needed <= set(order))
        if not ready:
            raise ValueError(f"sql/{folder}: these queries read each other: {sorted(needs)}")
        order += ready
        needs = {name: needed for name, needed in needs.items() if name not in ready}
    return order


def _reads(text: str, table: str) -> bool:
    code = "\n".join(line.partition("--")[0] for line in text.splitlines())
    words = code.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return table in words


def _digest(payload: str) -> str:
    return hashlib.sha256(payload.encode()).hexdigest()


def _naive(at: datetime) -> datetime:
    """DuckDB's `timestamp` is UTC here by agreement, and carries no zone."""
    return at.astimezone(UTC).replace(tzinfo=None)
