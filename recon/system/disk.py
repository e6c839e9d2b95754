"""Disk: which errors come from a file system or a file on it, their cause, and the remedy.

SQLite and DuckDB name a full disk in many ways ("disk I/O error", "database has been invalidated",
an error at the commit, no memory where nothing can be spilled). So the file system is asked as well
as the error's text.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import sqlite3
from pathlib import Path
from typing import NamedTuple

NOTHING_LOST = "then run the command again: nothing that was published is lost"
MAKE_ROOM = f"delete what is not needed, or move the folder to a larger disk; {NOTHING_LOST}"
REMEDY = "run  recon restore  to go on from the last backup; what is there now is set aside"
"""What to do about a damaged file of the state."""

FULL = 1024 * 1024
"""Bytes free on a file system below which a write that failed without a reason had no space."""

_NAMED = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.EFBIG,
)
"""What is said of a disk whatever the file; where a library gives its text alone, it is sought."""
_OF_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}
_OF_DUCKDB = {
    "IOException",
    "FatalException",
    "InternalException",
    "SerializationException",
    "OutOfMemoryException",
}
"""Errors of DuckDB that come from a disk, or say that nothing more can be done with a file."""
_NO_TEMPORARY_FOLDER = "No usable temporary directory"
_PATH = re.compile(r'"(/[^"\n]+)"')


class Trouble(NamedTuple):
    """What went wrong with a disk or a file on it, and what to do."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


def trouble(error: BaseException, folder: Path) -> Trouble | None:
    """Return what an error says of a disk or of a file on it; None where it is of neither.

    `folder` is where the error was made, unless it names a file itself.
    """
    said = _said(error)
    if said is None:
        return None
    if _is_corrupt(error):
        return Trouble(said, REMEDY)
    if _is_locked(error):
        return Trouble(said, "another process holds the file: try again once it has ended")
    if (found := shortage(error, folder)) is not None:
        return found
    remedy = f"see that it may be read and written; where a file is damaged, {REMEDY}"
    return Trouble(said, remedy)


def shortage(error: BaseException, folder: Path) -> Trouble | None:
    """Return what this machine lacks, where an error says so: space, open files, memory, a disk.

    It may have happened to any file, as no file can be blamed for it. None for any other error.
    """
    said = _said(error)
    if said is None or _is_corrupt(error) or _is_locked(error):
        return None
    place = _place(error, folder)
    if (number := _number(error, place)) is not None:
        return _named(number, place, said)
    if "OutOfMemoryException" in _kinds(error):
        return Trouble(said, "give this machine more memory, or end what else runs on it")
    return None


def no_space(error: BaseException, folder: Path) -> Trouble | None:
    """Return that `folder` has no space left, where an error or what it came from says so."""
    one: BaseException | None = error
    while one is not None:
        if _said(one) is not None and _number(one, folder) in {errno.ENOSPC, errno.EDQUOT}:
            return shortage(one, folder)
        one = one.__cause__ or one.__context__
    return None


def _said(error: BaseException) -> str | None:
    """Return the first line of an error of a disk; None for any other error."""
    if isinstance(error, OSError):
        is_of_network = isinstance(error, ConnectionError | TimeoutError)
        if is_of_network or (error.filename is None and error.errno not in {*_NAMED, errno.ENOENT}):
            return None
        reason = error.strerror or str(error)
        return f"{error.filename}: {reason}" if error.filename else reason
    is_of_sqlite = (
        isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError
    )
    if is_of_sqlite or _is_of_duckdb(error):
        return next(iter(str(error).splitlines()), type(error).__name__)
    return None


def _is_of_duckdb(error: BaseException) -> bool:
    kinds = _kinds(error)
    if kinds == {"Error"} or kinds & _OF_DUCKDB:
        return True
    return bool(kinds) and _number_in(str(error)) is not None


def _kinds(error: BaseException) -> set[str]:
    """Return the names of DuckDB's errors that an error is; DuckDB itself need not be loaded."""
    return {one.__name__ for one in type(error).__mro__ if one.__module__ in {"duckdb", "_duckdb"}}


def _is_corrupt(error: BaseException) -> bool:
    is_named = _sqlite_code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    return is_named or "orrupt" in str(error)


def _is_locked(error: BaseException) -> bool:
    is_named = _sqlite_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
    return is_named or "Could not set lock on file" in str(error)


def _sqlite_code(error: BaseException) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF  # the rest of it says where SQLite was


def _place(error: BaseException, folder: Path) -> Path:
    """Return the nearest folder that is there, above the file that an error names."""
    named = error.filename if isinstance(error, OSError) else None
    if not isinstance(named, str | bytes | os.PathLike):
        found = _PATH.search(str(error))
        named = found[1] if found else folder
    path = Path(os.fsdecode(named)).absolute()
    return next((one for one in (path, *path.parents) if one.is_dir()), Path("/"))


def _number(error: BaseException, place: Path) -> int | None:
    """Return the errno of what is wrong: as the error has it, or else as the file system has it."""
    number = error.errno if isinstance(error, OSError) else _number_in(str(error))
    if number in _NAMED:
        return number
    if number is not None and _NO_TEMPORARY_FOLDER not in str(error):
        return None
    if (number := _OF_SQLITE.get(_sqlite_code(error) or 0)) is not None:
        return None if number == errno.EROFS and not _is_read_only(place) else number
    if _sqlite_code(error) == sqlite3.SQLITE_ERROR:  # a mistake in a statement, on any disk
        return None
    return _number_of(place)


def _number_in(text: str) -> int | None:
    return next((one for one in _NAMED if os.strerror(one) in text), None)


def _number_of(place: Path) -> int | None:
    """Return why nothing can be written at a place, as an errno; None where something can."""
    try:
        disk = os.statvfs(place)
    except OSError as error:
        return error.errno if error.errno in _NAMED else None
    if disk.f_flag & os.ST_RDONLY:
        return errno.EROFS
    is_without_inodes = disk.f_files > 0 and disk.f_favail == 0
    if is_without_inodes or disk.f_bavail * disk.f_frsize < FULL:
        return errno.ENOSPC
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else errno.EFBIG


def _is_read_only(place: Path) -> bool:
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _named(number: int, place: Path, said: str) -> Trouble:
    """Return the cause that an errno names, with the figures of the file system, and its remedy."""
    if number == errno.ENOSPC:
        return Trouble(f"no space left on {_mount(place)} ({_free(place)}): {said}", MAKE_ROOM)
    if number == errno.EDQUOT:
        quota = f"no space left on {_mount(place)} for this user (its disk quota is used up)"
        return Trouble(f"{quota}: {said}", f"have the quota raised, or {MAKE_ROOM}")
    if number == errno.EROFS:
        remedy = f"see why (dmesg), and mount it for writing; {NOTHING_LOST}"
        return Trouble(f"{_mount(place)} is mounted read-only: {said}", remedy)
    if number == errno.EIO:
        remedy = f"look at the disk, or at the share (dmesg); where a file is damaged, {REMEDY}"
        return Trouble(f"{_mount(place)} cannot be read or written: {said}", remedy)
    if number in {errno.EMFILE, errno.ENFILE}:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        remedy = f"raise the limit (ulimit -n, LimitNOFILE of systemd); {NOTHING_LOST}"
        return Trouble(f"too many open files (this process may have {limit}): {said}", remedy)
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    allowed = "" if limit == resource.RLIM_INFINITY else f" (of this process: {limit} bytes)"
    remedy = f"raise the limit (ulimit -f, LimitFSIZE of systemd); {NOTHING_LOST}"
    return Trouble(f"a file cannot grow beyond the limit on its size{allowed}: {said}", remedy)


def _mount(place: Path) -> Path:
    """Return where the file system of a place is mounted."""
    return next((one for one in (place, *place.parents) if one.is_mount()), place)


def _free(place: Path) -> str:
    """Say how much is free on the file system of a place: bytes, or inodes where there is none."""
    try:
        disk = os.statvfs(place)
    except OSError:
        return "how much is free cannot be read"
    if disk.f_files > 0 and disk.f_favail == 0:
        return f"all {disk.f_files} of its inodes are used: it takes no further file"
    free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    return f"{_mib(free)} of {_mib(whole)} MiB free now"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f}"
