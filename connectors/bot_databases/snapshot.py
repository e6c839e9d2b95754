"""What every kind of a bot's books comes to: tables of text with their columns."""

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
"""Rows that are Python's at one time: there, they take ten times the room."""
MOST_TABLES = 5
"""Tables that an error names."""

IsWanted = Callable[[str], bool]
"""Says of a table's name whether the mapping asks for it: no other table is read."""


class Unknown(NamedTuple):
    """How books are refused of which no table is wanted: `holds table x, which {why}`, a remedy."""

    why: str = "nothing asks for"
    remedy: str = "see that `books` names what the bot writes"


NOT_ASKED_FOR = Unknown()


class UnreadableError(BotDatabaseError):
    """The books cannot be read: what is the matter, and what to do, told apart for `check`.

    `parts` are the arguments that make the same error in another process.
    """

    def __init__(self, source: Path | str, what: str, remedy: str) -> None:
        self.parts = (str(source), what, remedy)
        self.what = storable(f"{source} {what}")
        self.remedy = storable(remedy)
        super().__init__(f"{self.what}: {self.remedy}")


@dataclass(frozen=True, slots=True)
class TableRows:
    """The rows of one table: `rows` is `id` and its columns, all text; `columns` names and types.

    The types hold every value of the table, also where only some of its rows were read, except for
    the places of its decimals, which are those of the rows read.
    """

    rows: pa.Table
    columns: list[tuple[str, str]]


class Reader(Protocol):
    """One kind of books. `source` is how errors name them; it shows no secret."""

    source: str

    async def read(self, is_wanted: IsWanted) -> Mapping[str, TableRows]:
        """Return every wanted table as it stands, by name.

        Nothing of the bot's is created, locked or changed. Raises UnreadableError.
        """
        ...


class WholeBooks:
    """Read all wanted tables of one bot's books, all of their rows, within `limit_s`.

    `reader` knows the kind of books; `now` gives the time in UTC.
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

        The shapes are those of `SqliteDatabase.fetch`. Raises BotDatabaseError, which
        names the database and the remedy, where anything cannot be read.
        """
        taken_at = self._now()
        rows = {"schema": 0}
        for name, table in (await self._read()).items():
            rows[f"table:{name}"] = table.rows.num_rows
            rows["schema"] += 1
            yield Table(f"table:{name}", table.rows)
            yield schema_record(name, table)
        yield books_coverage(window, taken_at, rows, is_snapshot=True)

    async def check(self) -> list[CheckItem]:
        """Read the books once and name their tables, or say what is in the way."""
        subject = f"books of {self.account}"
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
    """Return the error for books that hold these tables, none of which is wanted."""
    names = list(dict.fromkeys(tables))
    if not names:
        return UnreadableError(source, "holds no table", NOT_ASKED_FOR.remedy)
    shown = ", ".join(names[:MOST_TABLES]) + (", …" if len(names) > MOST_TABLES else "")
    what = f"holds table{'s' * (len(names) > 1)} {shown}, which {unknown.why}"
    return UnreadableError(source, what, unknown.remedy)


def too_late(source: Path | str, limit_s: float) -> UnreadableError:
    """Return the error for a database that took longer than `limit_s` to read."""
    remedy = "see that its disk or server answers, or raise seconds under [recon.limits]"
    return UnreadableError(source, f"took longer than {limit_s:g} s to read", remedy)


def schema_record(name: str, table: TableRows) -> Record:
    """Return the record of a table's columns, in the table's order."""
    return Record("schema", name, payload_text({"columns": table.columns}))


def books_coverage(
    window: Window, taken_at: datetime, rows: Mapping[str, int], *, is_snapshot: bool
) -> Coverage:
    """Return the statement that these kinds were read whole at `taken_at`, so many rows each."""
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

    Without `ids` a row's id is a hash of what it says, then `#2`, `#3` for equal rows: so it stays
    the same wherever the row stands, and a row that says something else is another row.
    """
    if ids is None:
        ids = _counted(_hashes(columns))
    schema = pa.schema([("id", pa.string()), *((name, pa.string()) for name in columns)])
    return pa.Table.from_arrays([ids, *columns.values()], schema=schema)


def _hashes(columns: Mapping[str, pa.ChunkedArray]) -> pa.ChunkedArray:
    """Return a hash of each row, whatever the order of its columns; what is null does not count."""
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
    """Return the hashes with `#2`, `#3` … after those that stood further above, too."""
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
    """Refuse names that differ in their case at most: SQL would take one for the other."""
    counted = Counter(name.lower() for name in names)
    if twice := [name for name in names if counted[name.lower()] > 1]:
        shown = ", ".join(repr(name) for name in twice)
        remedy = f"give each {what} a name of its own"
        raise UnreadableError(source, f"has {what}s that SQL cannot tell apart ({shown})", remedy)
