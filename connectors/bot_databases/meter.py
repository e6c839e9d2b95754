"""The use of limits by one read of a bot database."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from connectors.bot_databases.snapshot import UnreadableError, too_late
from recon.core.limits import KB, MB, Limits

NULL_BYTES = 4
"""The bytes that a null takes in a column of text."""


class Taken(NamedTuple):
    """Rows read, and bytes held in memory."""

    rows: int = 0
    held: int = 0


class Meter:
    """Counts the rows and bytes that are read of one bot database, and refuses those over a limit.

    `source` names the database in errors. The time starts with the creation of the meter. All
    methods but `is_late`, `left_s`, `taken` and `let_go` raise UnreadableError, which names value,
    limit and setting. A meter that is created with another's `taken` continues its counts.
    """

    def __init__(
        self,
        source: Path | str,
        limits: Limits = Limits(),
        taken: Taken = Taken(),  # noqa: B008 - immutable
    ) -> None:
        self.source = source
        self.limits = limits
        self._until = time.monotonic() + limits.seconds
        self._rows, self._held = taken

    @property
    def taken(self) -> Taken:
        """Return the rows and bytes counted so far."""
        return Taken(self._rows, self._held)

    @property
    def left_s(self) -> float:
        """Return the seconds left; below 0 when the time is over."""
        return self._until - time.monotonic()

    def is_late(self) -> bool:
        """Return whether the time is over."""
        return self.left_s < 0

    def check_time(self) -> None:
        """Raise UnreadableError if the time is over."""
        if self.is_late():
            raise too_late(self.source, self.limits.seconds)

    def files(self, count: int) -> None:
        """Check the number of files."""
        self._refuse_above("files", count, self.limits.files, f"has {count:,} files")

    def file(self, path: Path, size: int) -> None:
        """Check the size of one file in bytes."""
        self._refuse_above(
            "file_mb", size, self.limits.file_mb * MB, f"has {_mb(size)} in {path.name}"
        )

    def json(self, path: Path, size: int) -> None:
        """Check the size in bytes of one JSON file, which is decoded at once."""
        self._refuse_above(
            "json_mb", size, self.limits.json_mb * MB, f"has {_mb(size)} in {path.name}"
        )

    def parts(self, path: Path | str, count: int) -> None:
        """Check the number of values in JSON, or in nested columns, that are decoded at once."""
        self.check_time()
        what = f"has {count:,} values to decode at once ({Path(path).name})"
        self._refuse_above("json_values", count, self.limits.json_values, what)

    def columns(self, place: str, count: int) -> None:
        """Check the number of columns of a table. `place` names the table."""
        self._refuse_above(
            "columns", count, self.limits.columns, f"has {count:,} columns ({place})"
        )

    def rows(self, place: str, count: int) -> None:
        """Count `count` more rows. `place` names their table."""
        self.check_time()
        self._rows += count
        self._refuse_above(
            "rows", self._rows, self.limits.rows, f"has {self._rows:,} rows ({place})"
        )

    def has_room(self, size: int) -> None:
        """Raise UnreadableError if `size` more bytes in memory would exceed the limit."""
        self.check_time()
        size += self._held
        self._refuse_above("text_mb", size, self.limits.text_mb * MB, f"has {_mb(size)} of text")

    def hold(self, size: int) -> None:
        """Count `size` more bytes as held in memory."""
        self.has_room(size)
        self._held += size

    def let_go(self, size: int) -> None:
        """Release `size` bytes that `hold` has counted."""
        self._held -= size

    def values(self, place: str, text: pa.Array) -> None:
        """Count values of a column, as text (utf8). `place` names the column."""
        self.hold(text.nbytes)
        self.value(place, pc.max(pc.binary_length(text)).as_py() or 0)

    def value(self, place: str, size: int) -> None:
        """Check the size of one value in bytes."""
        what = f"has a value of {size / KB:,.0f} kB ({place})"
        self._refuse_above("value_kb", size, self.limits.value_kb * KB, what)

    def nesting(self, place: str, depth: int) -> None:
        """Check the nesting depth of objects and lists in a value."""
        what = f"has objects and lists nested {depth:,} deep ({place})"
        self._refuse_above("nesting", depth, self.limits.nesting, what)

    def _refuse_above(self, setting: str, value: int, limit: int, what: str) -> None:
        if value > limit:
            allowed = getattr(self.limits, setting)
            raise UnreadableError(
                self.source,
                f"{what}, and {setting} = {allowed} is the limit",
                f"let the bot keep less there, or raise {setting} under [recon.limits]",
            )


def _mb(size: int) -> str:
    return f"{size / MB:,.0f} MB"
