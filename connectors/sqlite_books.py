"""A bot's own SQLite database, read from a snapshot that the bot never notices."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import stat
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from connectors.payload import payload_text
from recon.domain import CheckItem, Coverage, Promise, Record, Window
from recon.errors import BooksError
from recon.identifiers import quoted

_BATCH_ROWS = 1_000
_RETRY_S = 0.05
_RESTING_TRIES = 3
_MAX_DIGITS = 38
_WAL_VERSIONS = slice(18, 20)
"""Where a database's header says that it is in WAL mode: two bytes, 2 and 2."""

_ABOUT_VALUES = re.compile(r"value (missing )?(in|from) |^CHECK constraint failed")
"""What quick_check also reports: values that break the bot's own rules, not a broken file."""


class _UnreadableError(BooksError):
    """The books cannot be read: what is the matter, and what to do, told apart for `check`."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(f"{path} {what}: {remedy}")
        self.what = f"{path} {what}"
        self.remedy = remedy


class SqliteBooks:
    """Read the tables of one bot's SQLite file that are wanted, all of them unless told otherwise.

    The file is opened read-only, copied by SQLite's own backup within `busy_timeout_s` and let go
    before the first row is read. It is never created, never written and never kept locked. The
    copy is a private file under `scratch`, or in memory where that is None, and goes with the
    fetch. `now` gives the time in UTC.
    """

    venue = "books"
    promises: tuple[Promise, ...] = (Promise("books", "schema", is_snapshot=True),)

    def __init__(
        self,
        bot: str,
        path: Path,
        *,
        now: Callable[[], datetime],
        busy_timeout_s: float = 5.0,
        scratch: Path | None = None,
        is_wanted: Callable[[str], bool] = lambda _table: True,
    ) -> None:
        self.account = bot
        self._path = path
        self._now = now
        self._busy_timeout_s = busy_timeout_s
        self._scratch = scratch
        self._is_wanted = is_wanted

    async def fetch(self, window: Window) -> AsyncGenerator[Record | Coverage, None]:
        """Yield each table's rows and its columns, then the coverage of the whole snapshot.

        A row is kind `table:<name>`, its values text, null where null, bytes as hex. A table's
        columns are kind `schema`: `{"columns": [[name, DuckDB type], ...]}`. Coverage counts both.
        Raises BooksError, which names the file and the remedy, where anything cannot be read.
        """
        taken_at = self._now()
        kinds = ["schema"]
        rows = 0
        with (
            _target(self._scratch) as target,
            closing(await asyncio.to_thread(self._snapshot, target)) as books,
            self._readably(),
        ):
            for name in self._tables(books):
                kinds.append(f"table:{name}")
                for batch in _table_records(books, name, self._path):
                    for record in batch:
                        yield record
                    rows += len(batch)
                    await asyncio.sleep(0)
        yield Coverage(
            evidence="books",
            kinds=tuple(kinds),
            status="complete",
            asked_from=window.start,
            asked_to=window.end,
            served_from=window.start,
            served_to=taken_at,
            pages=1,
            rows=rows,
            is_snapshot=True,
        )

    async def check(self) -> list[CheckItem]:
        """Take one snapshot and name its tables, or say what is in the way."""
        subject = f"books of {self.account}"
        try:
            with (
                _target(self._scratch) as target,
                closing(await asyncio.to_thread(self._snapshot, target)) as books,
            ):
                names = self._tables(books)
        except _UnreadableError as error:
            return [CheckItem(subject, is_ok=False, detail=error.what, remedy=error.remedy)]
        detail = f"{self._path} holds {len(names)} tables: {', '.join(names)}"
        return [CheckItem(subject, is_ok=True, detail=detail)]

    def _snapshot(self, target: str) -> sqlite3.Connection:
        """Return an open, verified copy of the books, at `target`."""
        header = self._header()
        copy = sqlite3.connect(target, check_same_thread=False)
        try:
            with self._readably():
                is_copied = header[_WAL_VERSIONS] == b"\2\2" and self._copy_resting(copy)
                if not is_copied:
                    self._back_up(copy)
                copy.text_factory = _lenient_text
                copy.execute("pragma trusted_schema = off")
                self._verify(copy)
        except BaseException:
            copy.close()
            raise
        return copy

    def _header(self) -> bytes:
        """Return the file's first bytes, once it is certain that it is a file, and readable."""
        try:
            found = self._path.lstat()
            if stat.S_ISLNK(found.st_mode):
                target = self._path.resolve()
                self._refuse("is a symbolic link", f"name the file itself, {target}, in `books`")
            if not stat.S_ISREG(found.st_mode):
                self._refuse("is not a file", "name the bot's database file in `books`")
            with self._path.open("rb") as file:
                header = file.read(100)
        except FileNotFoundError:
            self._refuse("does not exist", "correct the path in `books`, or start the bot once")
        except PermissionError:
            self._refuse("may not be read", "give recon's user read permission on it")
        except OSError as error:
            self._refuse(f"cannot be read ({error.strerror})", "see that its disk is well")
        if not header:
            self._refuse("is empty", "correct the path in `books`, or restore the bot's database")
        return header

    def _back_up(self, copy: sqlite3.Connection) -> None:
        deadline = time.monotonic() + self._busy_timeout_s

        def give_up_in_time(status: int, _remaining: int, _total: int) -> None:
            # A backup asks again for ever while another process holds the lock.
            is_held = status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
            if is_held and time.monotonic() > deadline:
                self._refuse_locked()

        # Quoted, because an unquoted `?mode=rwc` in a file's name would win over this one.
        uri = f"file:{quote(os.fsencode(self._path.absolute()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as books:
            books.backup(copy, pages=-1, progress=give_up_in_time, sleep=_RETRY_S)

    def _copy_resting(self, copy: sqlite3.Connection) -> bool:
        """Copy books in WAL mode that no one has open; return whether they stayed at rest.

        Without a `-wal` beside it the file is whole. To open it, even read-only, would leave a
        `-wal` and a `-shm` in the bot's folder that belong to recon's user and not to the bot's.
        """
        wal = self._path.with_name(f"{self._path.name}-wal")
        for _ in range(_RESTING_TRIES):
            before = self._path.stat()
            content = bytearray(self._path.read_bytes())
            after = self._path.stat()
            if wal.exists():
                return False
            if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                content[_WAL_VERSIONS] = b"\1\1"  # a copy in memory cannot be in WAL mode
                with closing(sqlite3.connect(":memory:")) as resting:
                    resting.deserialize(bytes(content))
                    resting.backup(copy)
                return True
        return False

    def _verify(self, copy: sqlite3.Connection) -> None:
        """Refuse a copy whose pages do not hang together, or that holds no table."""
        copy.execute("pragma ignore_check_constraints = on")
        for (finding,) in copy.execute("pragma quick_check(1000)"):
            if finding != "ok" and not _ABOUT_VALUES.search(finding):
                self._refuse_corrupt(finding.splitlines()[-1])
        if not self._tables(copy):
            self._refuse("holds no table", "see that `books` names the database the bot writes")

    def _tables(self, copy: sqlite3.Connection) -> list[str]:
        """Name the real tables: neither SQLite's own, nor views, nor virtual tables."""
        with self._readably():
            found = copy.execute(
                "select name from sqlite_master where type = 'table'"
                r" and name not like 'sqlite\_%' escape '\'"
                " and sql not like 'create virtual table%' order by name"
            ).fetchall()
        return [str(name) for (name,) in found if self._is_wanted(str(name))]

    @contextmanager
    def _readably(self) -> Iterator[None]:
        """Turn what SQLite or the disk says into an error for the person who reads it."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                self._refuse_locked()
            if code == sqlite3.SQLITE_NOTADB:
                self._refuse("is not a SQLite database", "correct the path in `books`")
            if code == sqlite3.SQLITE_READONLY:
                self._refuse(
                    "was left in the middle of a write", "start the bot once to recover it"
                )
            if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
                remedy = (
                    "give recon's user read permission on it, its folder, its -wal and its -shm"
                )
                self._refuse("cannot be opened", remedy)
            if code == sqlite3.SQLITE_CORRUPT:
                self._refuse_corrupt(str(error))
            self._refuse(f"cannot be copied ({error})", "see that its disk and recon's have room")
        except OSError as error:
            self._refuse(f"cannot be read ({error.strerror})", "see that its disk is well")

    def _refuse_locked(self) -> NoReturn:
        what = f"was locked for {self._busy_timeout_s:g} s"
        self._refuse(what, "find what holds it (a bot in exclusive mode, an open shell), run again")

    def _refuse_corrupt(self, finding: str) -> NoReturn:
        self._refuse(f"is corrupt ({finding})", "stop the bot and restore a backup of its database")

    def _refuse(self, what: str, remedy: str) -> NoReturn:
        raise _UnreadableError(self._path, what, remedy) from None


@contextmanager
def _target(scratch: Path | None) -> Iterator[str]:
    """Give a place for one copy: in memory, or a file in a private folder that goes afterwards."""
    if scratch is None:
        yield ":memory:"
        return
    try:
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = tempfile.TemporaryDirectory(prefix="books-", dir=scratch)
    except OSError as error:
        what = f"cannot hold a copy of the books ({error.strerror})"
        raise _UnreadableError(scratch, what, "see that recon may write there") from error
    with private as folder:
        yield str(Path(folder) / "copy.sqlite")


def _table_records(books: sqlite3.Connection, table: str, path: Path) -> Iterator[Sequence[Record]]:
    """Yield a table's rows in batches, then, once all its values were seen, its columns."""
    declared = dict(books.execute("select name, type from pragma_table_xinfo(?)", (table,)))
    key = _key(books, table, declared)
    cursor = books.execute(f"select {key}, * from {quoted(table)}")
    columns = [_Column(name, declared.get(name, "")) for name, *_ in cursor.description[1:]]
    while rows := cursor.fetchmany(_BATCH_ROWS):
        yield [_row_record(table, row, columns, path) for row in rows]
    types = [[column.name, column.duckdb_type()] for column in columns]
    yield [Record("schema", table, payload_text({"columns": types}))]


def _row_record(
    table: str, row: tuple[object, ...], columns: Sequence[_Column], path: Path
) -> Record:
    key, *values = row
    texts: dict[str, str | None] = {}
    for column, value in zip(columns, values, strict=True):
        texts[column.name] = column.text(value)
        if texts[column.name] is None and value is not None:
            where = f"table {table}, column {column.name}, row {key}"
            raise _UnreadableError(path, f"holds an infinite number ({where})", "correct that row")
    return Record(f"table:{table}", str(key), payload_text(texts))


def _key(books: sqlite3.Connection, table: str, declared: dict[str, str]) -> str:
    """Return an expression that tells the table's rows apart: its rowid, else its primary key."""
    taken = {name.lower() for name in declared}
    for name in ("rowid", "_rowid_", "oid"):
        if name not in taken and _has_rowid(books, table, name):
            return name
    primary = books.execute(
        "select name from pragma_table_xinfo(?) where pk > 0 order by pk", (table,)
    ).fetchall()
    if not primary:
        raise BooksError(f"table {table} hides its rowid and has no primary key: rename a column")
    # As SQL literals, so that 1 and '1', or ('a,b', 'c') and ('a', 'b,c'), stay apart.
    return " || ',' || ".join(f"quote({quoted(name)})" for (name,) in primary)


def _has_rowid(books: sqlite3.Connection, table: str, name: str) -> bool:
    try:
        books.execute(f"select {name} from {quoted(table)} limit 0")
    except sqlite3.OperationalError:
        return False  # a WITHOUT ROWID table
    return True


def _lenient_text(raw: bytes) -> str:
    r"""Return text as it is; a byte that is no UTF-8 shows as `\xff`, and never stops the books."""
    return raw.decode("utf-8", "backslashreplace")


@dataclass(slots=True)
class _Column:
    """One column, and what its values turned out to be."""

    name: str
    declared: str
    has_text: bool = False
    has_bytes: bool = False
    has_float: bool = False
    has_int: bool = False
    is_boolean: bool = True
    whole_digits: int = 0
    places: int = 0

    def text(self, value: object) -> str | None:
        """Return a value's text, each digit kept, and remember its type.

        None stands for null, and for an infinite number, which has no digits.
        """
        if value is None:
            return None
        if isinstance(value, int):
            return self._number(str(value), is_float=False)
        if isinstance(value, float):
            # The shortest decimal that is this float, and this float only.
            plain = repr(value)
            if "inf" in plain:
                return None
            return self._number(f"{Decimal(plain):f}" if "e" in plain else plain, is_float=True)
        if isinstance(value, bytes):
            self.has_bytes = True
            return value.hex()
        self.has_text = True
        return str(value)

    def _number(self, plain: str, *, is_float: bool) -> str:
        whole, _, fraction = plain.lstrip("-").partition(".")
        self.whole_digits = max(self.whole_digits, len(whole.lstrip("0")))
        self.places = max(self.places, len(fraction.rstrip("0")))
        if is_float:
            self.has_float = True
        else:
            self.has_int = True
            self.is_boolean = self.is_boolean and plain in {"0", "1"}
        return plain

    def duckdb_type(self) -> str:
        """Return the narrowest DuckDB type that holds every value seen, exactly.

        A number is never a DOUBLE: BIGINT or DECIMAL, and text where its digits fit neither.
        """
        is_number = self.has_float or self.has_int
        if self.has_text or (self.has_bytes and is_number):
            return "VARCHAR"
        if self.has_bytes:
            return "BLOB"
        if self.has_float:
            fits = self.whole_digits + self.places <= _MAX_DIGITS
            return f"DECIMAL({_MAX_DIGITS},{self.places})" if fits else "VARCHAR"
        if "BOOL" in self.declared.upper() and self.is_boolean:
            return "BOOLEAN"
        return "BIGINT" if is_number else self._declared_type()

    def _declared_type(self) -> str:
        """Return the type of a column without a value, by what the bot said that it would hold."""
        declared = self.declared.upper()
        if "INT" in declared:
            return "BIGINT"
        if any(word in declared for word in ("REAL", "FLOA", "DOUB", "NUM", "DEC")):
            return f"DECIMAL({_MAX_DIGITS},18)"
        return "VARCHAR"
