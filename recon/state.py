"""The state folder: made private, and held by one run at a time, one night, and one watch."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recon.errors import ConfigError, LockedError, OwnerError, StateError
from recon.permissions import user_name


@contextmanager
def locked_state(folder: Path, lock: str = "lock", *, patience_s: float = 0.0) -> Iterator[Path]:
    """Make the state folder (0700), hold one of its locks, and give it.

    Raises LockedError where another run holds that for longer than `patience_s`, ConfigError where
    it cannot be made, OwnerError where it belongs to another user.
    """
    assert_ours(folder)
    _make(folder)
    path = folder / lock
    with held(path, f"another run holds {path}: wait for it to end, then try again", patience_s):
        yield folder


@contextmanager
def held(path: Path, otherwise: str, patience_s: float) -> Iterator[None]:
    """Hold a lock. Raises LockedError, `otherwise`, where another process goes on holding it.

    ConfigError where it cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(str(path), error) from error
    give_up = time.monotonic() + patience_s
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    raise LockedError(otherwise) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)


REMEDY = "run  recon restore  to go on from the last backup; what is there now is set aside"
"""What to do about a damaged file of the state."""

OURS = (
    "*.lock", "lock", "ledger.sqlite*", "warehouse.duckdb*", "reports", "scratch", "backups",
    "set-aside",
)  # fmt: skip
"""What a run writes to in the state folder, as glob patterns."""


def assert_ours(folder: Path) -> None:
    """See that the state folder, where there is one, belongs to the user of this process.

    Root may write anywhere, but the owner could not write to the files that root would leave.
    Raises OwnerError; ConfigError where the folder cannot be reached.
    """
    ours = os.geteuid()
    try:
        owner = folder.stat().st_uid
        files = [path for pattern in OURS for path in folder.glob(pattern)] if owner == ours else []
    except (FileNotFoundError, NotADirectoryError):
        return  # nothing is there yet; or no folder is, which the caller finds
    except OSError as error:
        owner = _owner_of_what_is_closed(folder)
        if owner == ours:
            raise _unusable(f"the state folder {folder}", error) from error
        files = []
    if owner != ours:
        raise OwnerError(
            f"state belongs to {user_name(owner)}: run as that user ({folder})"
            + ("" if _holds_a_state(folder) else ", or let `state` name a new folder inside it")
        )
    for path in files:
        other = path.lstat().st_uid
        if other != ours:
            raise OwnerError(
                f"state belongs to {user_name(ours)}, but {path} in it belongs to "
                f"{user_name(other)}: run  chown {user_name(ours)} {path}"
            )


def _holds_a_state(folder: Path) -> bool:
    """Return whether a state is in a folder, or may be: nobody knows of one that cannot be read.

    A volume that is mounted there is empty at first, and belongs to root.
    """
    if not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
        return True
    return any(True for pattern in OURS for _ in folder.glob(pattern))


def _owner_of_what_is_closed(folder: Path) -> int:
    """Return the owner of the folder that lets nobody through to this one."""
    for parent in folder.absolute().parents:
        try:
            return parent.stat().st_uid
        except OSError:
            continue
    return os.geteuid()


def _make(folder: Path) -> None:
    """Make the state folder, private. Raises ConfigError."""
    try:
        for part in (folder, folder / "scratch", folder / "reports"):
            part.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise _unusable(f"the state folder {folder}", error) from error


def _unusable(what: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"recon.state: cannot make {what} ({error.strerror}): name one that can be written"
    )


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Say of what goes wrong with the files in the state folder what it is, and what to do.

    Raises StateError for a damaged file, a full disk, a missing permission. A mistake of ours in
    what was asked of a database is raised as it is.
    """
    try:
        yield
    except Exception as error:
        if (said := _of_storage(error)) is None:
            raise
        raise StateError(
            f"the state folder {folder} cannot be used: {said}: {_remedy(error)}"
        ) from error


def _of_storage(error: Exception) -> str | None:
    """Return what an error says of a disk or of a file on it; None where it is none of theirs."""
    import duckdb  # noqa: PLC0415 - only once there is an error

    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
    of_duckdb = (
        duckdb.IOException, duckdb.FatalException, duckdb.InternalException,
        duckdb.SerializationException,
    )  # fmt: skip
    is_of_duckdb = isinstance(error, of_duckdb) or type(error) is duckdb.Error
    is_of_sqlite = (
        isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError
    )
    if is_of_duckdb or is_of_sqlite:
        return next(iter(str(error).splitlines()), type(error).__name__)
    return None


def _remedy(error: Exception) -> str:
    """Return what to do about an error of a disk or of a file on it."""
    number = getattr(error, "sqlite_errorcode", None)
    code = None if number is None else number & 0xFF  # the rest of it says where SQLite was
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return "another process holds the file: try again once it has ended"
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or "orrupt" in str(error):
        return REMEDY
    return f"see that there is room and permission; where a file is damaged, {REMEDY}"


def sync_folder(folder: Path) -> None:
    """Have a rename in a folder outlive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or what was there before."""
    draft = path.with_suffix(path.suffix + ".new")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
