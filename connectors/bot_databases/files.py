"""Bot databases in files: found by a path, a folder or a pattern, and read while at rest.

A table has the name of its file, without dates and numbers: `trades-2026-05-14.csv` and
`trades-2026-05-15.csv` are the table `trades`. Files whose name is only a date are table `rows`.
"""

from __future__ import annotations

import asyncio
import glob
import os
import re
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from connectors.bot_databases.arrow_columns import Texts, stacked
from connectors.bot_databases.arrow_text import lenient_text
from connectors.bot_databases.meter import Meter
from connectors.bot_databases.snapshot import (
    IsWanted,
    TableRows,
    UnreadableError,
    refuse_twins,
    with_ids,
)
from recon.core.limits import Limits

UNNAMED = "rows"
"""The table of files whose name is only a date."""

_WHEN = re.compile(r"(?:^|(?<=[-_. ]))[0-9][0-9TZ]*(?=[-_. ]|$)")
_SETTLE_S = 0.05
_REST_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class FileTable:
    """One table of one file: `size` rows, by column. Without a `name`, the file names the table.

    `ids` are the file's own ids of its rows, if it has any.
    """

    name: str | None
    columns: dict[str, Texts]
    size: int
    ids: list[str] | None = None


Parse = Callable[[Path, bytes, Meter], list[FileTable]]
"""Returns the tables of one whole file, counted by the meter. Raises UnreadableError."""


class FileReader:
    """Reads a bot database: one file, a folder's files with `suffixes`, or a pattern's files.

    `table` replaces the names that tables take from their files. A database beyond `limits` is
    refused.
    """

    def __init__(
        self,
        path: Path,
        parse: Parse,
        suffixes: Sequence[str],
        table: str | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self.source = str(path)
        self._path = path
        self._parse = parse
        self._suffixes = tuple(suffixes)
        self._table = table
        self._limits = limits

    async def read(self, is_wanted: IsWanted) -> dict[str, TableRows]:
        """Return every wanted table, combined from all files. Raises UnreadableError."""
        is_over = threading.Event()
        try:
            return await asyncio.to_thread(self._read, is_wanted, is_over)
        finally:
            is_over.set()

    def _read(self, is_wanted: IsWanted, is_over: threading.Event) -> dict[str, TableRows]:
        found: defaultdict[str, list[tuple[Path, FileTable]]] = defaultdict(list)
        meter = Meter(self.source, self._limits)
        files = self._files()
        meter.files(len(files))
        for path in files:
            if is_over.is_set():
                break  # the caller has given up
            content = content_at_rest(path, meter)
            tables = self._parse(path, content, meter)
            meter.let_go(len(content))
            del content
            for table in tables:
                name = table.name or self._table or table_name(path)
                meter.columns(name, len(table.columns))
                refuse_twins(path, "column", list(table.columns))
                if table.columns and is_wanted(name):
                    found[name].append((path, table))
        return {name: _together(self._path, parts, meter) for name, parts in found.items()}

    def _files(self) -> list[Path]:
        """Return the files, at least one, in the order of their names."""
        with _readably(self._path):
            if self._path.is_dir():
                found = [
                    path
                    for path in self._path.iterdir()
                    if path.name.lower().endswith(self._suffixes) and not path.is_dir()
                ]
            elif self._path.exists() or not glob.has_magic(self.source):
                return [self._path]
            else:
                _look_into_folders(self.source)
                found = [Path(one) for one in glob.glob(self.source, recursive=True)]
        if not found:
            what = f"holds no file that ends in {' or '.join(self._suffixes)}"
            if not self._path.is_dir():
                what = "matches no file"
            _refuse(self._path, what, "correct the path in `database`, or start the bot once")
        return sorted(path for path in found if not path.is_dir())


def table_name(path: Path) -> str:
    """Return the table of a file's rows: the file's name without dates and numbers."""
    stem = lenient_text(os.fsencode(path.name)).split(".")[0]
    return re.sub(r"[-_. ]{2,}", "-", _WHEN.sub("", stem)).strip("-_. ") or UNNAMED


def content_at_rest(path: Path, meter: Meter) -> bytes:
    """Return a file's bytes, read while no process was writing it. Raises UnreadableError.

    The meter counts the bytes as held until the caller releases them.
    """
    deadline = time.monotonic() + _REST_LIMIT_S
    with _readably(path):
        while True:
            before = path.stat()
            if not stat.S_ISREG(before.st_mode):
                _refuse(path, "is not a file", "name the file that the bot writes in `database`")
            meter.file(path, before.st_size)
            meter.has_room(before.st_size)
            with path.open("rb") as file:
                content = file.read(before.st_size + 1)  # no more if it grows
            if time.time() - before.st_mtime < 1:
                time.sleep(_SETTLE_S)  # an active writer changes the file meanwhile
            after = path.stat()
            is_same = (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
            if is_same and len(content) == after.st_size:
                break
            if time.monotonic() > deadline:
                what = f"was being written for {_REST_LIMIT_S:g} s"
                _refuse(path, what, "run while the bot writes less, or let it write a new file")
    if not content:
        _refuse(path, "is empty", "correct the path in `database`, or restore the bot's file")
    meter.hold(len(content))
    return content


def _together(source: Path, parts: Sequence[tuple[Path, FileTable]], meter: Meter) -> TableRows:
    """Return the parts of a table as one. The file's own ids are kept if it is the only file."""
    tables = [table for _, table in parts]
    columns = stacked([table.columns for table in tables], [table.size for table in tables], meter)
    meter.columns(str(source), len(columns))
    refuse_twins(source, "column", columns)
    ids: list[pa.Array] | None = []
    for path, table in parts:
        if table.ids is None or ids is None:
            ids = None
        else:
            file = "" if len(parts) == 1 else f"{lenient_text(os.fsencode(path.name))}/"
            ids.append(pa.array([f"{file}{one}" for one in table.ids], pa.string()))
    rows = with_ids(
        {name: column.values for name, column in columns.items()},
        None if ids is None else pa.chunked_array(ids, pa.string()),
    )
    return TableRows(rows, [(name, column.duckdb_type()) for name, column in columns.items()])


def _look_into_folders(pattern: str) -> None:
    """Raise OSError for a folder that may not be listed: a pattern silently skips it."""
    folder = Path(pattern).parent
    while glob.has_magic(str(folder)):
        folder = folder.parent
    if folder == Path(pattern).parent:
        os.scandir(folder).close()
    else:
        for _ in os.walk(folder, onerror=_raise):
            pass


def _raise(error: OSError) -> NoReturn:
    raise error


@contextmanager
def _readably(path: Path) -> Iterator[None]:
    """Raise an OSError in the block as an UnreadableError with a remedy."""
    try:
        yield
    except FileNotFoundError:
        _refuse(path, "does not exist", "correct the path in `database`, or start the bot once")
    except PermissionError as error:
        remedy = "give recon's user read permission on it and its folder"
        _refuse(error.filename or path, "may not be read", remedy)
    except OSError as error:
        _refuse(path, f"cannot be read ({error.strerror})", "check its disk")


def _refuse(path: Path | str, what: str, remedy: str) -> NoReturn:
    raise UnreadableError(path, what, remedy) from None
