"""A bot's SQLite database, read from a snapshot that does not disturb the bot."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from pathlib import Path

from connectors.bot_databases.meter import Meter
from connectors.bot_databases.snapshot import (
    NOT_ASKED_FOR,
    Unknown,
    UnreadableError,
    database_coverage,
    schema_record,
    unknown_tables,
)
from connectors.bot_databases.sqlite_above import conditions_above
from connectors.bot_databases.sqlite_snapshot import SqliteFile, place_for_a_copy
from connectors.bot_databases.sqlite_tables import column_names, read_table, table_names
from recon.core.limits import Limits
from recon.core.records import CheckItem, Coverage, EvidenceSpec, Record, Table, Window
from recon.core.watermarks import Above
from recon.errors import StateError, closing


class SqliteDatabase:
    """Reads the wanted tables of one bot's SQLite file; by default all tables.

    The file is opened read-only, copied by SQLite's own backup within `busy_timeout_s`, and closed
    before the first row is read. It is never created, never written and never kept locked. The copy
    is a private file under `scratch` (None: the system's folder for temporary files), and is
    deleted after the fetch. `now` returns the time in UTC.

    With `above`, and for a window that starts after its `beginning`, tables with a watermark are
    read in part: only the rows that may have changed since the window's start. All other tables are
    read whole. A database beyond `limits` is refused.
    """

    venue = "bot_database"
    promises: tuple[EvidenceSpec, ...] = (EvidenceSpec("bot_database", "schema", is_snapshot=True),)

    def __init__(  # noqa: PLR0913 - each is one thing that reading a file may need
        self,
        bot: str,
        path: Path,
        *,
        now: Callable[[], datetime],
        busy_timeout_s: float = 5.0,
        scratch: Path | None = None,
        is_wanted: Callable[[str], bool] = lambda _table: True,
        unknown: Unknown = NOT_ASKED_FOR,
        above: Above | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self.account = bot
        self._path = path
        self._file = SqliteFile(path, busy_timeout_s)
        self._now = now
        self._scratch = scratch
        self._is_wanted = is_wanted
        self._unknown = unknown
        self._above = above
        self._limits = limits

    async def fetch(self, window: Window) -> AsyncGenerator[Record | Table | Coverage, None]:
        """Yield each table's rows and its columns, then the coverage of the snapshot.

        A table has kind `table:<name>`; its values are text, null where null, bytes as hex. A
        table's columns have kind `schema`: `{"columns": [[name, DuckDB type], ...]}`. Coverage
        counts both. Tables that were read only above a watermark have a separate statement, which
        is not a snapshot. Raises BotDatabaseError, which names the file and the remedy, if any
        table cannot be read.
        """
        taken_at = self._now()
        rows = {"schema": 0}
        partly: dict[str, int] = {}
        meter = Meter(self._path, self._limits)
        with (
            place_for_a_copy(self._place()) as copy,
            closing(await asyncio.to_thread(self._copy_to, copy, meter)) as database,
            self._file.readably(meter),
        ):
            columns = {name: column_names(database, name) for name in self._tables(database)}
            conditions = conditions_above(database, columns, self._above, window.start)
            for name in columns:
                where = conditions.get(name, "1")
                table = await asyncio.to_thread(
                    read_table, database, copy, name, meter=meter, where=where
                )
                kind = f"table:{name}"
                (partly if name in conditions else rows)[kind] = table.rows.num_rows
                rows["schema"] += 1
                yield Table(kind, table.rows)
                yield schema_record(name, table)
        yield database_coverage(window, taken_at, rows, is_snapshot=True)
        if partly:
            yield database_coverage(window, taken_at, partly, is_snapshot=False)

    async def check(self) -> list[CheckItem]:
        """Return the names of the tables of one snapshot, or the reason why it failed."""
        subject = f"database of {self.account}"
        meter = Meter(self._path, self._limits)
        try:
            with (
                place_for_a_copy(self._place()) as copy,
                closing(await asyncio.to_thread(self._copy_to, copy, meter)) as database,
            ):
                names = self._tables(database)
        except UnreadableError as error:
            return [CheckItem(subject, is_ok=False, detail=error.what, remedy=error.remedy)]
        except StateError as error:
            return [CheckItem(subject, is_ok=False, detail=str(error))]
        detail = f"{self._path} holds {len(names)} tables: {', '.join(names)}"
        return [CheckItem(subject, is_ok=True, detail=detail)]

    def _place(self) -> Path:
        return self._scratch or Path(tempfile.gettempdir())

    def _copy_to(self, target: Path, meter: Meter) -> sqlite3.Connection:
        """Return an open, verified copy of the database, with at least one wanted table."""
        copy = self._file.copy_to(target, meter)
        try:
            if not self._tables(copy):
                with self._file.readably():
                    names = table_names(copy)
                raise unknown_tables(self._path, names, self._unknown)
        except BaseException:
            copy.close()
            raise
        return copy

    def _tables(self, copy: sqlite3.Connection) -> list[str]:
        with self._file.readably():
            return [name for name in table_names(copy) if self._is_wanted(name)]
