"""A disk that is too small: a file system in memory, mounted where only one process sees it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

NEW_USERS, NEW_MOUNTS = 0x10000000, 0x00020000
"""CLONE_NEWUSER and CLONE_NEWNS of unshare(2)."""
KEPT = ".kept"


@cache
def why_none() -> str:
    """Return what this machine lacks for a small disk; nothing where it has all."""
    try:
        done = subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        return f"the command unshare of util-linux: {error.strerror}"
    return "" if done.returncode == 0 else f"the right to mount a tmpfs: {done.stderr.strip()}"


@contextmanager
def small_disk(folder: Path, room_bytes: int, most_files: int | None = None) -> Iterator[None]:
    """Put `folder` on a file system of its own with so much room left, for this process alone.

    The process must have one thread. `most_files` is how many more files it takes. Its files are
    copied to and fro; who waits for the process calls `bring_back`.
    """
    kept = folder.with_name(folder.name + KEPT)
    folder.rename(kept)
    folder.mkdir(mode=0o700)
    files = list(kept.rglob("*"))
    pages = sum(-(-path.stat().st_size // 4096) for path in files if path.is_file())
    options = f"size={pages * 4096 + room_bytes // 4096 * 4096 or 4096}"
    if most_files is not None:
        options += f",nr_inodes={len(files) + 2 + most_files}"
    _mount(folder, options)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(kept)
        shutil.copytree(folder, kept)


def bring_back(folder: Path) -> None:
    """Put what a process has left on its small disk in the folder's place, if it had one."""
    kept = folder.with_name(folder.name + KEPT)
    if kept.exists():
        shutil.rmtree(folder)
        kept.rename(folder)


def _mount(folder: Path, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.geteuid(), os.getegid()

    def checked(status: int, what: str) -> None:
        if status != 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    checked(libc.unshare(NEW_USERS | NEW_MOUNTS), "unshare")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    place = os.fsencode(folder)
    checked(libc.mount(b"tmpfs", place, b"tmpfs", 0, os.fsencode(options)), "mount")
