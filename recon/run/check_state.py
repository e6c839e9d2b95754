"""Whether a night can use the state folder: tried without leaving anything in it.

A folder of another user is refused earlier: every command refuses it.
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
"""Bytes that a small night writes, at most: evidence, scratch copies of bot databases, a report."""
TRIED = 1024 * 1024
"""Bytes that are written as a trial, to a file without a name."""


def check_folder(state: Path) -> list[CheckItem]:
    """Return what would keep a run from using the state folder; one item where all is well."""
    problems = [CheckItem("state folder", said, remedy) for said, remedy in _problems(state)]
    detail = f"{state} can be used" if state.exists() else f"{state} can be made"
    return problems or [CheckItem("state folder", detail, is_ok=True)]


def _problems(state: Path) -> Iterator[tuple[str, str]]:
    """Yield each problem and its remedy; those that follow from an earlier one are left out."""
    try:
        found = next(_unusable(state), None)
        if found is not None:
            yield found
            return
        folder = state if state.exists() else _parent(state)
        yield from _without_room(state, folder)
    except OSError as error:
        name = error.filename or state
        yield f"{name} cannot be used: {error.strerror}", "name a folder in recon.state that can be"


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
    """Return the nearest folder above that is there, or what is in its place."""
    return next(above for above in path.absolute().parents if os.path.lexists(above))


def _no_folder(path: Path) -> tuple[str, str]:
    return (
        f"{path} is a file, and a folder is needed there",
        "move the file away, or name another folder in recon.state",
    )


def _read_only(path: Path) -> tuple[str, str]:
    return (
        f"{path} cannot be written (read-only, or no permission)",
        "give this user the right to write it, or name another folder in recon.state",
    )


def _without_room(state: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield that the disk is full: a night needs room to write, and for a backup of its files."""
    files = [state / name for name in (WAREHOUSE, CONTROL)]
    needed = ROOM + sum(path.stat().st_size for path in files if path.exists())
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    remedy = "make room on that disk, or name a folder in recon.state on another one"
    if free < needed:
        yield (
            f"{folder} has {_mib(free)} MiB free, and a night and its backup need {_mib(needed)}",
            remedy,
        )
        return
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(TRIED))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield f"{folder} takes no file of {_mib(TRIED)} MiB: {error.strerror}", remedy


def _mib(size: int) -> int:
    return size // (1024 * 1024)
