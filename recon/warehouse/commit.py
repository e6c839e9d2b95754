"""Commit the warehouse with a manifest, verify it, and publish a copy for readers.

DuckDB allows no reader beside the warehouse's one writer. So people and programs read a copy,
`published.duckdb`, that is small, complete and renamed into place. Its tables are those of
`sql/published`, and `reports` with the run's document.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from recon.control.ledger import CONTROL, Ledger
from recon.control.manifests import Manifest
from recon.errors import StateError
from recon.system.disk import REMEDY
from recon.system.state_folder import draft_of, sync_folder
from recon.warehouse.database import Warehouse

WAREHOUSE, PUBLISHED = "warehouse.duckdb", "published.duckdb"
BACKUPS = "backups"
QUERIES = "published"
ORIGINAL = ("raw", "reports")
"""Schemas that cannot be rebuilt from others."""


@contextmanager
def open_verified(state: Path, ledger: Ledger) -> Iterator[tuple[Warehouse, str]]:
    """Open the warehouse and compare it with its manifests; yield it, and a loss as a sentence.

    The sentence is empty, or names the run to which the warehouse is back, such as after the end of
    a log was cut off. Raises StateError for any other difference.
    """
    path = state / WAREHOUSE
    history = ledger.manifests()
    if not path.exists():
        if any(each.is_committed for each in history):
            raise StateError(f"{path} is missing, although runs have committed to it: {REMEDY}")
        if any((state / BACKUPS).glob("*/manifest.json")):
            raise StateError(f"{path} and its manifests in {CONTROL} are missing: {REMEDY}")
    is_old = path.exists()
    with Warehouse(path) as warehouse:
        if (
            is_old
            and not history
            and ledger.is_new()
            and warehouse.rows("from raw.coverage limit 1")
        ):
            raise StateError(f"{state / CONTROL} has no run, although {path} has some: {REMEDY}")
        yield warehouse, _lost(path, warehouse, ledger)


def known_ledger(state: Path) -> Ledger:
    """Open the control database. Raises StateError if it is missing beside a warehouse."""
    path = state / CONTROL
    if (state / WAREHOUSE).exists() and not path.exists():
        raise StateError(f"{path} is missing: {REMEDY}")
    return Ledger(path)


@contextmanager
def commit_with_manifest(
    warehouse: Warehouse, ledger: Ledger, run: str, at: datetime
) -> Iterator[None]:
    """Commit the writes of the block atomically, with a manifest in the control database."""
    with warehouse.transaction():
        yield
        number = ledger.begin_manifest(run, manifest(warehouse), at)
    ledger.commit_manifest(number)


def manifest(warehouse: Warehouse) -> Manifest:
    """Return the manifest of the warehouse's present content."""
    names = warehouse.rows(
        """
        select schema_name || '.' || table_name as name from duckdb_tables()
        where list_contains($schemas, schema_name) and not temporary order by name
        """,
        {"schemas": list(ORIGINAL)},
    )
    counted = " union all ".join(
        f"select '{each['name']}' as name, count(*) as n from {each['name']}" for each in names
    )
    rows = {row["name"]: row["n"] for row in warehouse.rows(counted)} if counted else {}
    return Manifest(rows, _sha256(warehouse))


def verify(state: Path, ledger: Ledger) -> dict[str, pa.Table]:
    """Open the warehouse again and compare it with its last manifest; return the tables to publish.

    Raises StateError if they differ.
    """
    path = state / WAREHOUSE
    log = path.with_suffix(".duckdb.wal")
    if log.exists():
        raise StateError(f"{log} was not merged into the warehouse when it was closed: {REMEDY}")
    with Warehouse(path, is_read_only=True) as warehouse:
        if differences := ledger.last_manifest().differs(manifest(warehouse)):
            raise StateError(f"{path} differs from the last commit: {differences[0]}: {REMEDY}")
        return {
            name: warehouse.arrow(f"from (\n{query}\n) order by all")
            for name, query in _published(warehouse).items()
        }


def publish(state: Path, tables: Mapping[str, pa.Table], document: Mapping[str, Any]) -> None:
    """Replace the published tables and document with those of a run.

    Raises StateError if the written file reads back differently.
    """
    report = {"run": document["run"], "as_of": document["as_of"], "document": json.dumps(document)}
    whole = {**tables, "reports": pa.Table.from_pylist([report])}
    path = state / PUBLISHED
    with draft_of(path) as draft:
        draft.unlink(missing_ok=True)
        with duckdb.connect(str(draft)) as db:
            for name, rows in whole.items():
                db.register("incoming_rows", rows)
                db.execute(f"create table {name} as from incoming_rows")
                db.unregister("incoming_rows")
        with duckdb.connect(str(draft), read_only=True) as db:
            for name, rows in whole.items():
                if not db.sql(f"from {name}").to_arrow_table().equals(rows):
                    raise StateError(
                        f"{draft}: table {name} reads back differently: look at the disk"
                    )
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        # A reader that wrote to the old file has left a log.
        path.with_suffix(".duckdb.wal").unlink(missing_ok=True)
        draft.replace(path)
        sync_folder(state)


def _published(warehouse: Warehouse) -> dict[str, str]:
    """Return the queries of `sql/published`, or none before the first build."""
    return dict(warehouse.queries(QUERIES)) if warehouse.has("pnl", "by_session") else {}


def _sha256(warehouse: Warehouse) -> str:
    """Return a hash of the tables to publish: of each table's rows as sorted text."""
    said = hashlib.sha256()
    for name, query in _published(warehouse).items():
        [row] = warehouse.rows(
            "select count(*) as n, sha256(coalesce(string_agg(t::varchar, chr(10) "
            f"order by t::varchar), '')) as hash from (\n{query}\n) t"
        )
        said.update(f"{name} {row['n']} {row['hash']}\n".encode())
    return said.hexdigest()


def _lost(path: Path, warehouse: Warehouse, ledger: Ledger) -> str:
    """Return a lost commit as a sentence, or nothing. Raises StateError as `open_verified`."""
    history = ledger.manifests()
    last = next((n for n, each in enumerate(history) if each.is_committed), None)
    if last is None:  # whether the first commit was made is unknown
        return ""
    held = manifest(warehouse).rows
    for number, each in enumerate(history):
        if all(held.get(name) == count for name, count in each.rows.items()):
            is_good = number <= last
            return (
                "" if is_good else f"{path} is back at run {each.run}: the later commits are lost"
            )
    differences = Manifest(history[last].rows, "").differs(Manifest(held, ""))
    raise StateError(f"{path} differs from the last commit: {differences[0]}: {REMEDY}")
