"""The text of a small file: never of a folder, a device or a pipe, and never more than a limit."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

MIB = 1024 * 1024


class FileText(NamedTuple):
    """The text of a file, and its state when it was opened."""

    text: str
    status: os.stat_result


class NotRegularError(OSError):
    """What a path names is a folder, a device or a pipe."""


def open_regular(path: Path) -> BinaryIO:
    """Return an open file, to be read. Waits for nobody, as opening a pipe would.

    Raises NotRegularError, and OSError for a file that cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a NUL in the path, or text that no file system can hold
        raise _refused(path, "no path of a file") from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise NotRegularError(None, what, str(path))
    return os.fdopen(handle, "rb")


def read_file_text(path: Path, most: int = MIB) -> FileText:
    """Return the text of a file of at most `most` bytes, in UTF-8; a byte order mark is left out.

    Raises OSError, with a reason in words, for anything but such a file. Waits for nobody: a pipe
    is refused.
    """
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        content = file.read(most + 1)
    if len(content) > most:
        raise _refused(path, f"longer than {most} bytes")
    try:
        return FileText(content.decode().removeprefix("\ufeff"), status)
    except UnicodeDecodeError as error:
        raise _refused(path, f"byte {error.start + 1} is no UTF-8: save it as UTF-8") from None


def _refused(path: Path, reason: str) -> OSError:
    return OSError(None, reason, str(path))
