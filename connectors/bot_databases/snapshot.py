"""The common form of all bot databases: tables of text with typed columns."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from connectors.payload import payload_text
from recon.core.limits import Limits
from recon.core.records import CheckItem, Coverage, EvidenceSpec, Record, Table, Window
from recon.errors import BotDatabaseError
from recon.outside_text import storable

_ROWS_AT_ONCE = 10_000
"""The rows that are Python objects at one time: as such they take ten times the memory."""
MOST_TABLES = 5
"""The most tables that an error names."""

IsWanted = Callable[[str], bool]
"""Returns whether the mapping needs the table of a name: no other table is read."""


class Unknown(NamedTuple):
    """The refusal of a database without a wanted table: `holds table x, which {why}`, a remedy."""

    why: str = "no mapping reads"
    remedy: str = "let `database` name the bot's own database"


NOT_ASKED_FOR = Unknown()


class UnreadableError(BotDatabaseError):
    """A bot database cannot be read. `what` and `remedy` are kept apart for `check`.

    `parts` are the arguments that make the same error in another process.
    """

    def __init__(self, source: Path | str, what: str, remedy: str) -> None:
        self.parts = (str(source), what, remedy)
        self.what = storable(f"{source} {what}")
        self.remedy = storable(remedy)
        super().__init__(f"{self.what}: {self.remedy}")


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of one table: `rows` has `id` and its columns, all text; `columns` names and types.

    The types hold every value of the table, even if only some rows were read. Only the places of
    its decimals are those of the rows read.
    """

    rows: pa.Table
    columns: list[tuple[str, str]]


class Reader(Protocol):
    """The reader of one kind of bot database. `source` names it in errors, without any secret."""

    source: str

    async def read(self, is_wanted: IsWanted) -> Mapping[str, TableRows]:
        """Return the current rows of every wanted table, by name.

        It creates, locks and changes nothing in the bot database. Raises UnreadableError.
        """
        ...


class WholeBooks:
    """Reads all rows of the wanted tables of one bot database, within `limit_s`.

    `reader` reads the kind of database; `now` returns the time in UTC.
    """

    venue = "bot_database"
    promises: tuple[EvidenceSpec, ...] = (EvidenceSpec("bot_database", "schema", is_snapshot=True),)

    def __init__(
        self,
        bot: str,
        reader: Reader,
        *,
        now: Callable[[], datetime],
        is_wanted: IsWanted = lambda _table: True,
        unknown: Unknown = NOT_ASKED_FOR,
        limit_s: float = Limits().seconds,
    ) -> None:
        self.account = bot
        self._reader = reader
        self._now = now
        self._is_wanted = is_wanted
        self._unknown = unknown
        self._limit_s = limit_s

    async def fetch(self, window: Window) -> AsyncGenerator[Record | Table | Coverage, None]:
        """Yield each table's rows and its columns, then the coverage of the snapshot.

        The shapes are those of `SqliteDatabase.fetch`. Raises BotDatabaseError, which names the
        database and the remedy, if any table cannot be read.
        """
        taken_at = self._now()
        rows = {"schema": 0}
        for name, table in (await self._read()).items():
            rows[f"table:{name}"] = table.rows.num_rows
            rows["schema"] += 1
            yield Table(f"table:{name}", table.rows)
            yield schema_record(name, table)
        yield database_coverage(window, taken_at, rows, is_snapshot=True)

    async def check(self) -> list[CheckItem]:
        """Return the names of the tables after one read, or the reason why it failed."""
        subject = f"database of {self.account}"
        try:
            tables = await self._read()
        except UnreadableError as error:
            return [CheckItem(subject, is_ok=False, detail=error.what, remedy=error.remedy)]
        detail = f"{self._reader.source} holds {len(tables)} tables: {', '.join(tables)}"
        return [CheckItem(subject, is_ok=True, detail=detail)]

    async def _read(self) -> Mapping[str, TableRows]:
        source = self._reader.source
        found: list[str] = []

        def is_wanted(table: str) -> bool:
            found.append(table)
            return self._is_wanted(table)

        try:
            async with asyncio.timeout(self._limit_s):
                tables = await self._reader.read(is_wanted)
        except TimeoutError:
            raise too_late(source, self._limit_s) from None
        if not tables:
            raise unknown_tables(source, found, self._unknown)
        refuse_twins(source, "table", tables)
        return tables


def unknown_tables(source: Path | str, tables: Sequence[str], unknown: Unknown) -> UnreadableError:
    """Return the error for a bot database with these tables, none of which is wanted."""
    names = list(dict.fromkeys(tables))
    if not names:
        return UnreadableError(source, "holds no table", NOT_ASKED_FOR.remedy)
    shown = ", ".join(names[:MOST_TABLES]) + (", …" if len(names) > MOST_TABLES else "")
    what = f"holds table{'s' * (len(names) > 1)} {shown}, which {unknown.why}"
    return UnreadableError(source, what, unknown.remedy)


def too_late(source: Path | str, limit_s: float) -> UnreadableError:
    """Return the error for a database that took longer than `limit_s` to read."""
    remedy = "check its disk or server, or raise seconds under [recon.limits]"
    return UnreadableError(source, f"took longer than {limit_s:g} s to read", remedy)


def schema_record(name: str, table: TableRows) -> Record:
    """Return the record of a table's columns, in the table's order."""
    return Record("schema", name, payload_text({"columns": table.columns}))


def database_coverage(
    window: Window, taken_at: datetime, rows: Mapping[str, int], *, is_snapshot: bool
) -> Coverage:
    """Return the coverage of kinds that were read whole at `taken_at`; `rows` are their counts."""
    return Coverage(
        evidence="bot_database",
        kinds=tuple(rows),
        status="complete",
        asked_from=window.start,
        asked_to=window.end,
        served_from=window.start,
        served_to=taken_at,
        pages=1,
        rows=sum(rows.values()),
        is_snapshot=is_snapshot,
    )


def with_ids(
    columns: Mapping[str, pa.ChunkedArray], ids: pa.ChunkedArray | None = None
) -> pa.Table:
    """Return columns of text as a table whose first column is each row's id.

    Without `ids`, a row's id is a hash of its values, followed by `#2`, `#3` for equal rows. So the
    id is independent of the row's position, and a row with other values is another row.
    """
    if ids is None:
        ids = _counted(_hashes(columns))
    schema = pa.schema([("id", pa.string()), *((name, pa.string()) for name in columns)])
    return pa.Table.from_arrays([ids, *columns.values()], schema=schema)


def _hashes(columns: Mapping[str, pa.ChunkedArray]) -> pa.ChunkedArray:
    """Return a hash of each row, independent of the order of columns and of null values."""
    names = sorted(columns)
    rows = pa.Table.from_arrays([columns[name] for name in names], names=names)
    hashes = []
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
        values = [column.to_pylist() for column in batch.columns]
        said = (
            json.dumps(
                [[name, one] for name, one in zip(names, row, strict=True) if one is not None]
            )
            for row in zip(*values, strict=True)
        )
        hashes.append(
            pa.array([hashlib.sha256(one.encode()).hexdigest()[:32] for one in said], pa.string())
        )
    return pa.chunked_array(hashes, pa.string())


def _counted(hashes: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the hashes; the second, third … equal one has `#2`, `#3` … after it."""
    if pc.count_distinct(hashes).as_py() == len(hashes):
        return hashes
    order = pc.sort_indices(hashes)  # stable: equal rows stay in their order
    sorted_hashes = hashes.take(order).combine_chunks()
    is_same = pc.equal(sorted_hashes[1:], sorted_hashes[:-1])
    place = pa.array(range(len(order)), pa.int64())
    first = pc.if_else(pa.concat_arrays([pa.array([False]), is_same]), 0, place)
    count = pc.add(pc.subtract(place, pc.cumulative_max(first)), 1)
    numbered = pc.binary_join_element_wise(sorted_hashes, count.cast(pa.string()), "#")
    ids = pc.if_else(pc.equal(count, 1), sorted_hashes, numbered)
    return pa.chunked_array([ids.take(pc.sort_indices(order))])


def refuse_twins(source: Path | str, what: str, names: Mapping[str, object] | list[str]) -> None:
    """Raise UnreadableError for names that are equal in SQL, which ignores case."""
    counted = Counter(name.lower() for name in names)
    if twice := [name for name in names if counted[name.lower()] > 1]:
        shown = ", ".join(repr(name) for name in twice)
        remedy = f"give each {what} its own name"
        raise UnreadableError(source, f"has {what}s of equal names in SQL ({shown})", remedy)
