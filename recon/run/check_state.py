"""Check that a run can use the state folder, without leaving anything in it.

Every command refuses a folder of another user before this check.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from recon.control.ledger import CONTROL
from recon.core.records import CheckItem
from recon.warehouse.commit import WAREHOUSE

ROOM = 64 * 1024 * 1024
"""Bytes that a small run writes, at most: evidence, scratch copies of bot databases, a report."""
TRIED = 1024 * 1024
"""Bytes that are written as a trial, to a file without a name."""


def check_folder(state: Path) -> list[CheckItem]:
    """Return the problems of the state folder for a run, or one item if there is none."""
    problems = [CheckItem("state folder", problem, remedy) for problem, remedy in _problems(state)]
    detail = f"{state} can be used" if state.exists() else f"{state} can be made"
    return problems or [CheckItem("state folder", detail, is_ok=True)]


def _problems(state: Path) -> Iterator[tuple[str, str]]:
    """Yield each problem and its remedy, without those that follow from an earlier one."""
    try:
        found = next(_unusable(state), None)
        if found is not None:
            yield found
            return
        folder = state if state.exists() else _parent(state)
        yield from _without_room(state, folder)
    except OSError as error:
        name = error.filename or state
        yield f"{name} cannot be used: {error.strerror}", "name a usable folder in recon.state"


def _unusable(state: Path) -> Iterator[tuple[str, str]]:
    if not os.path.lexists(state):
        parent = _parent(state)
        if not parent.is_dir():
            yield _no_folder(parent)
        elif not os.access(parent, os.W_OK | os.X_OK):
            yield _read_only(parent)
        return
    folders = [state, *(state / name for name in ("scratch", "reports", "backups"))]
    for folder in filter(os.path.lexists, folders):
        if not folder.is_dir():
            yield _no_folder(folder)
            return
    files = [one for one in sorted(state.iterdir()) if one.is_file()]
    for path in (*filter(os.path.lexists, folders), *files):
        if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
            yield _read_only(path)


def _parent(path: Path) -> Path:
    """Return the nearest existing path above this one."""
    return next(above for above in path.absolute().parents if os.path.lexists(above))


def _no_folder(path: Path) -> tuple[str, str]:
    return (
        f"{path} is a file, and it must be a folder",
        "move the file away, or name another folder in recon.state",
    )


def _read_only(path: Path) -> tuple[str, str]:
    return (
        f"{path} cannot be written (read-only, or no permission)",
        "give this user the right to write it, or name another folder in recon.state",
    )


def _without_room(state: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield a problem if the disk has no room for a run and its backup."""
    files = [state / name for name in (WAREHOUSE, CONTROL)]
    needed = ROOM + sum(path.stat().st_size for path in files if path.exists())
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    remedy = "make room on that disk, or name a folder in recon.state on another one"
    if free < needed:
        yield (
            f"{folder} has {_mib(free)} MiB free, and a run and its backup need {_mib(needed)}",
            remedy,
        )
        return
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(TRIED))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield f"a file of {_mib(TRIED)} MiB cannot be written in {folder}: {error.strerror}", remedy


def _mib(size: int) -> int:
    return size // (1024 * 1024)
