"""The state folder: made private, and held by one run at a time, and by one watch."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recon.errors import ConfigError, LockedError


@contextmanager
def locked_state(folder: Path, lock: str = "lock") -> Iterator[Path]:
    """Make the state folder (0700), hold one of its locks, and give it.

    Raises LockedError where another run holds that, ConfigError where it cannot be made.
    """
    try:
        for part in (folder, folder / "scratch", folder / "reports"):
            part.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        handle = os.open(folder / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"recon.state: cannot make the state folder {folder} ({error.strerror}): "
            "name one that can be written"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"another run holds {folder / lock}: wait for it to end, then try again"
            ) from None
        yield folder
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
