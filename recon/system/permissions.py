"""Which files another user of this machine could change or replace, and the command that ends it.

A file is safe where its owner and every folder on the way to it belong to this user or to root, and
nobody else may write to them. In a folder with the sticky bit, such as /tmp, others may write and
still replace nothing that is not theirs. A group counts as nobody else where it has no other
member: the private group that many systems give each user.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

MOST_LINKS = 40
"""Links on one way, as the kernel's own limit."""
_ACL = "system.posix_acl_access"


class Writable(NamedTuple):
    """A file or folder that others can write to: why, and the command to run."""

    path: Path
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: run  {self.remedy}"


def writable_by_others(path: Path) -> Writable | None:
    """Return the first place by which others could change or replace `path`; None where none is.

    Of a file that does not exist, the folders on the way to it count, as far as they exist. Raises
    OSError for a way that cannot be followed.
    """
    return next(_found(path), None)


def user_name(number: int) -> str:
    """Return the name of a user of this machine."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"


def _found(path: Path) -> Iterator[Writable]:
    for place in _way(path):
        status = place.lstat()
        if status.st_uid not in {0, os.geteuid()}:
            owner, ours = user_name(status.st_uid), user_name(os.geteuid())
            remedy = f"chown -h {ours} {shlex.quote(str(place))}"
            yield Writable(place, f"{place} belongs to {owner}, who can change it", remedy)
        elif stat.S_ISLNK(status.st_mode):
            continue  # its mode says nothing; who may replace it is its folder's matter
        elif bits := _bits_of_others(place, status):
            replaces = stat.S_ISDIR(status.st_mode)
            what = "replace what is in it" if replaces else "change it"
            remedy = f"chmod {bits}-w {shlex.quote(str(place))}"
            yield Writable(place, f"others can write to {place} and {what}", remedy)


def _way(path: Path) -> Iterator[Path]:
    """Yield every folder, link and file by which `path` is reached, from the root on."""
    current = Path("/")
    left = list(reversed(path.absolute().parts[1:]))
    links = 0
    yield current
    while left:
        name = left.pop()
        if name == "..":
            current = current.parent
            continue
        place = current / name
        try:
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        yield place
        if not stat.S_ISLNK(mode):
            current = place
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(None, "too many links", str(path))
        target = place.readlink()
        if target.is_absolute():
            current = Path("/")
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _bits_of_others(place: Path, status: os.stat_result) -> str:
    """Return whose right to write is to be taken away, as chmod names them, or nothing."""
    mode = status.st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_ISVTX:
        return ""
    group = mode & stat.S_IWGRP and (
        not _is_private(status.st_gid, os.geteuid()) or _has_acl(place)
    )
    return ("g" if group else "") + ("o" if mode & stat.S_IWOTH else "")


def _has_acl(place: Path) -> bool:
    """Return whether an access list stands behind the group's bits: they are its widest rights."""
    try:
        return bool(os.getxattr(place, _ACL))
    except OSError:
        return False


@cache
def _is_private(group: int, user: int) -> bool:
    """Return whether no other user than root is a member of a group."""
    names = {"root", user_name(user)}
    try:
        members = set(grp.getgrgid(group).gr_mem)
    except KeyError:
        members = set()
    members |= {one.pw_name for one in pwd.getpwall() if one.pw_gid == group}
    return members <= names
