"""The state folder: made private, and held by one run at a time, one night, and one watch."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from recon.errors import ConfigError, LockedError, OwnerError, StateError, clean_up
from recon.system.disk import shortage, trouble
from recon.system.interruption import heed
from recon.system.permissions import user_name

Note = Callable[[str], None]
"""Takes a line that a person should see at once."""

CHUNK = 16 * 1024
"""Bytes; the shortest run of zeros that a copy leaves out."""

LEFT_OVER_S = 12 * 3600.0
"""How old a folder in `scratch` is that no living process can still use."""


@contextmanager
def locked_state(
    folder: Path, lock: str = "lock", *, patience_s: float = 0.0, note: Note | None = None
) -> Iterator[Path]:
    """Make the state folder (0700), hold one of its locks, and give it.

    Raises LockedError where another run holds that for longer than `patience_s`, ConfigError where
    it cannot be made, OwnerError where it belongs to another user, StateError where there is no
    space for it. `note` hears for whom it waits.
    """
    assert_ours(folder)
    _make(folder)
    path = folder / lock
    with held(
        path, "another run holds {lock}: wait for it to end, then try again", patience_s, note
    ):
        yield folder


@contextmanager
def held(path: Path, otherwise: str, patience_s: float, note: Note | None = None) -> Iterator[None]:
    """Hold a lock. Raises LockedError, `otherwise`, where another process goes on holding it.

    In `otherwise`, `{lock}` becomes the lock's path and who holds it. ConfigError, StateError where
    the lock cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(str(path), error) from error
    try:
        _wait(handle, path, otherwise, patience_s, note)
        _write_holder(handle)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _wait(handle: int, path: Path, otherwise: str, patience_s: float, note: Note | None) -> None:
    """Take a lock, at the latest after `patience_s`. Raises LockedError."""
    give_up = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                raise LockedError(otherwise.format(lock=f"{path} ({_holder(handle)})")) from None
            if note is not None:
                note(f"waiting {patience_s:g} s at most for {_holder(handle)}, which holds {path}")
                note = None
            time.sleep(0.1)
        else:
            return


def _write_holder(handle: int) -> None:
    """Say in a lock's file who holds it: process, since when, its command.

    Where the disk is full, it is left out.
    """
    name, *words = sys.argv
    program = "recon" if Path(name).name == "__main__.py" else Path(name).name
    since = datetime.now(UTC).isoformat(timespec="seconds")
    said = json.dumps([os.getpid(), since, shlex.join([program, *words])[:200]])
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, said.encode(), 0)


def _holder(handle: int) -> str:
    """Return who holds a lock, in words."""
    try:
        number, since, command = json.loads(os.pread(handle, 4096, 0))
        at = datetime.fromisoformat(since)
        shown = "".join(one if one.isprintable() else "?" for one in str(command))
        return f"`{shown}`, process {int(number)}, since {at:%Y-%m-%d %H:%M:%S} UTC"
    except (OSError, ValueError, TypeError):
        return "a process that has not said who it is"


OURS = (
    "*.lock",
    "lock",
    "control.sqlite*",
    "warehouse.duckdb*",
    "reports",
    "scratch",
    "backups",
    "set-aside",
)
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
        _clear(folder / "scratch")
    except OSError as error:
        raise _unusable(f"the state folder {folder}", error) from error


def _clear(scratch: Path) -> None:
    """Remove the private folders that killed processes have left."""
    for left in scratch.iterdir():
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_OVER_S:
                shutil.rmtree(left)


def _unusable(what: str, error: OSError) -> ConfigError | StateError:
    if (found := shortage(error, Path("/"))) is not None:
        return StateError(f"cannot make {what}: {found}")
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
        heed()  # what it made fail is no failure
        if (found := trouble(error, folder)) is None:
            raise
        raise StateError(
            f"{found.what}: the state folder {folder} cannot be used: {found.remedy}"
        ) from error


def is_of_storage(error: Exception) -> bool:
    """Return whether an error is of a disk, or of a file on it, and so becomes a StateError."""
    return trouble(error, Path("/")) is not None


def sync_folder(folder: Path) -> None:
    """Have a rename in a folder outlive a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Give the place of a draft that becomes `path`; it is removed where the block fails."""
    draft = path.with_name(f"{path.name}.new")
    try:
        yield draft
    except BaseException as error:
        for left in (draft, draft.with_name(f"{draft.name}.wal")):
            clean_up(partial(left.unlink, missing_ok=True), after=error)
        raise


def copy_file(source: Path, target: Path) -> None:
    """Copy a file byte for byte; runs of zeros become holes, which take no space on the disk.

    DuckDB gives each table whole blocks, and most of a small table's block is zeros.
    """
    with source.open("rb") as read, target.open("wb") as written:
        while chunk := read.read(CHUNK):
            if chunk.count(0) == len(chunk):
                written.seek(len(chunk), os.SEEK_CUR)
            else:
                written.write(chunk)
        written.truncate()


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or what was there before."""
    with draft_of(path) as draft:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
