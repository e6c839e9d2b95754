"""A private copy of a bot's SQLite file: the file is never created, written, or kept locked."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from connectors.bot_databases.arrow_text import lenient_text
from connectors.bot_databases.meter import Meter
from connectors.bot_databases.snapshot import UnreadableError
from recon.core.limits import MB
from recon.errors import StateError, afterwards, closing
from recon.system.disk import no_space

_NO_PERMISSION = (
    "cannot be opened",
    "give recon's user read permission on it, its folder, its -wal and its -shm",
)
_ON_A_BAD_DISK = ("cannot be copied", "check its disk and recon's")
_REASONS = {
    sqlite3.SQLITE_NOTADB: ("is not a SQLite database", "correct the path in `database`"),
    sqlite3.SQLITE_READONLY: (
        "has an unfinished write",
        "start the bot once: that recovers the database",
    ),
    sqlite3.SQLITE_TOOBIG: (
        "has a row that does not fit into text_mb",
        "let the bot keep less there, or raise text_mb under [recon.limits]",
    ),
    sqlite3.SQLITE_CANTOPEN: _NO_PERMISSION,
    sqlite3.SQLITE_PERM: _NO_PERMISSION,
    sqlite3.SQLITE_IOERR: _ON_A_BAD_DISK,
    sqlite3.SQLITE_FULL: _ON_A_BAD_DISK,
}
"""The meaning of SQLite's primary result codes for a bot database, and the remedy."""
_CORRECT_IT = "open it with the sqlite3 shell, and repair the part that SQLite cannot read"

_RETRY_S = 0.05
_RESTING_TRIES = 3
_STEPS = 1_000
"""SQLite's steps between two checks of the time: well under a millisecond."""
_WAL_VERSIONS = slice(18, 20)
"""The bytes of a database's header that are 2 and 2 in WAL mode."""

_ABOUT_VALUES = re.compile(r"value (missing )?(in|from) |^CHECK constraint failed")
"""Other findings of quick_check: values that break the bot's own rules, not a broken file."""


class SqliteFile:
    """One bot's file. It is opened read-only, and copied in one step by SQLite's own backup."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self.path = path
        self._busy_timeout_s = busy_timeout_s

    def copy_to(self, target: Path, meter: Meter) -> sqlite3.Connection:
        """Return an open, verified copy of the database, at `target`.

        Queries on it are interrupted when the time of `meter` is over.
        """
        header = self._header()
        with self.readably():
            meter.file(self.path, self._size())
            is_copied = header[_WAL_VERSIONS] == b"\2\2" and self._copy_resting(target)
        copy = sqlite3.connect(target, check_same_thread=False)
        try:
            copy.set_progress_handler(meter.is_late, _STEPS)
            with self.readably(meter):
                if not is_copied:
                    self._back_up(copy)
                copy.text_factory = lenient_text
                copy.execute("pragma trusted_schema = off")
                self._verify(copy)
                copy.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, meter.limits.text_mb * MB)
        except BaseException:
            copy.close()
            raise
        return copy

    @contextmanager
    def readably(self, meter: Meter | None = None) -> Iterator[None]:
        """Raise an error of SQLite or the disk in the block as an UnreadableError with a remedy."""
        try:
            yield
        except sqlite3.Error as error:
            if meter is not None:
                meter.check_time()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                self._refuse_locked()
            if code == sqlite3.SQLITE_CORRUPT:
                self._refuse_corrupt(str(error))
            what, remedy = _REASONS.get(code, ("cannot be read", _CORRECT_IT))
            self.refuse(f"{what} ({error})", remedy)
        except UnicodeDecodeError:  # the library cannot read SQLite's own message
            self._refuse_corrupt("SQLite's message about it is not UTF-8")
        except OSError as error:
            self.refuse(f"cannot be read ({error.strerror})", "check its disk")

    def refuse(self, what: str, remedy: str) -> NoReturn:
        """Raise the error that the file has a fault, with its remedy."""
        raise UnreadableError(self.path, what, remedy) from None

    def _header(self) -> bytes:
        """Return the file's first bytes. Raises UnreadableError unless it is a readable file."""
        try:
            found = self.path.lstat()
            if stat.S_ISLNK(found.st_mode):
                target = self.path.resolve()
                self.refuse("is a symbolic link", f"name the file itself, {target}, in `database`")
            if not stat.S_ISREG(found.st_mode):
                self.refuse("is not a file", "name the bot's database file in `database`")
            with self.path.open("rb") as file:
                header = file.read(100)
        except FileNotFoundError:
            self.refuse("does not exist", "correct the path in `database`, or start the bot once")
        except PermissionError:
            self.refuse("may not be read", "give recon's user read permission on it")
        except OSError as error:
            self.refuse(f"cannot be read ({error.strerror})", "check its disk")
        if not header:
            self.refuse("is empty", "correct the path in `database`, or restore the bot's database")
        return header

    def _back_up(self, copy: sqlite3.Connection) -> None:
        deadline = time.monotonic() + self._busy_timeout_s

        def give_up_in_time(status: int, _remaining: int, _total: int) -> None:
            # A backup retries for ever while another process holds the lock.
            is_held = status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
            if is_held and time.monotonic() > deadline:
                self._refuse_locked()

        # Quoted: an unquoted `?mode=rwc` in a file's name would take precedence.
        uri = f"file:{quote(os.fsencode(self.path.absolute()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=0)) as database:
            database.backup(copy, pages=-1, progress=give_up_in_time, sleep=_RETRY_S)

    def _size(self) -> int:
        """Return the size of the file and its `-wal`, which is copied with it."""
        wal = self._wal()
        return self.path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)

    def _wal(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def _copy_resting(self, target: Path) -> bool:
        """Copy a database in WAL mode that no process has open; return whether it stayed at rest.

        The file is complete without a `-wal` beside it. Opening it, even read-only, would leave a
        `-wal` and a `-shm` in the bot's folder that belong to recon's user and not to the bot's.
        """
        for _ in range(_RESTING_TRIES):
            before = self.path.stat()
            shutil.copyfile(self.path, target)
            after = self.path.stat()
            if self._wal().exists():
                break
            if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size):
                with target.open("r+b") as copy:
                    copy.seek(_WAL_VERSIONS.start)
                    copy.write(b"\1\1")  # the copy leaves WAL mode
                return True
        target.unlink()
        return False

    def _verify(self, copy: sqlite3.Connection) -> None:
        """Raise UnreadableError for a copy with inconsistent pages."""
        copy.execute("pragma ignore_check_constraints = on")
        for (finding,) in copy.execute("pragma quick_check(1000)"):
            if finding != "ok" and not _ABOUT_VALUES.search(finding):
                self._refuse_corrupt(finding.splitlines()[-1])

    def _refuse_locked(self) -> NoReturn:
        what = f"was locked for {self._busy_timeout_s:g} s"
        self.refuse(what, "find what holds it (a bot in exclusive mode, an open shell), run again")

    def _refuse_corrupt(self, finding: str) -> NoReturn:
        self.refuse(f"is corrupt ({finding})", "stop the bot and restore a backup of its database")


@contextmanager
def place_for_a_copy(scratch: Path) -> Iterator[Path]:
    """Yield the path for one copy, in a private folder under `scratch` that is deleted afterwards.

    The copy is a file, and not in memory, because two libraries read it. Raises StateError if the
    disk is full: that is no fault of the bot database.
    """
    try:
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = tempfile.TemporaryDirectory(prefix="database-", dir=scratch)
    except OSError as error:
        _refuse_without_space(error, scratch)
        what = f"cannot hold a copy of the bot database ({error.strerror})"
        raise UnreadableError(scratch, what, "allow recon to write there") from error
    with afterwards(private.cleanup):
        try:
            yield Path(private.name) / "copy.sqlite"
        except Exception as error:
            _refuse_without_space(error, scratch)
            raise


def _refuse_without_space(error: Exception, scratch: Path) -> None:
    if (found := no_space(error, scratch)) is not None:
        raise StateError(f"a bot database cannot be copied: {found}") from error
