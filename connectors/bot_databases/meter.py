"""What one reading of a bot's database has taken so far, held against its limits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from connectors.bot_databases.snapshot import UnreadableError, too_late
from recon.core.limits import KB, MB, Limits

NULL_BYTES = 4
"""What a value takes as text that has none."""


class Taken(NamedTuple):
    """Rows read, and bytes held in memory."""

    rows: int = 0
    held: int = 0


class Meter:
    """Counts what is read of one bot's database, and refuses what exceeds a limit.

    `source` is how errors name the database. The time counts from when this is made. Every method
    but `is_late`, `left_s`, `taken` and `let_go` raises UnreadableError, which names value, limit
    and setting. One that is made with what another has `taken` counts on from there.
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
        """Return what has been taken so far."""
        return Taken(self._rows, self._held)

    @property
    def left_s(self) -> float:
        """Return how many seconds are left; below 0 where the time is over."""
        return self._until - time.monotonic()

    def is_late(self) -> bool:
        """Return whether the time is over."""
        return self.left_s < 0

    def check_time(self) -> None:
        """Refuse to go on when the time is over."""
        if self.is_late():
            raise too_late(self.source, self.limits.seconds)

    def files(self, count: int) -> None:
        """Take so many files."""
        self._refuse_above("files", count, self.limits.files, f"has {count:,} files")

    def file(self, path: Path, size: int) -> None:
        """Take one file of so many bytes."""
        self._refuse_above(
            "file_mb", size, self.limits.file_mb * MB, f"has {_mb(size)} in {path.name}"
        )

    def json(self, path: Path, size: int) -> None:
        """Take one JSON file of so many bytes, which is decoded at once."""
        self._refuse_above(
            "json_mb", size, self.limits.json_mb * MB, f"has {_mb(size)} in {path.name}"
        )

    def parts(self, path: Path | str, count: int) -> None:
        """Take so many values of JSON, or of nested columns, which are decoded at once."""
        self.check_time()
        what = f"has {count:,} values to take apart ({Path(path).name})"
        self._refuse_above("json_values", count, self.limits.json_values, what)

    def columns(self, place: str, count: int) -> None:
        """Take a table of so many columns. `place` names the table."""
        self._refuse_above(
            "columns", count, self.limits.columns, f"has {count:,} columns ({place})"
        )

    def rows(self, place: str, count: int) -> None:
        """Take so many rows more. `place` names their table."""
        self.check_time()
        self._rows += count
        self._refuse_above(
            "rows", self._rows, self.limits.rows, f"has {self._rows:,} rows ({place})"
        )

    def has_room(self, size: int) -> None:
        """Refuse so many bytes more than are held in memory already, where these are too many."""
        self.check_time()
        size += self._held
        self._refuse_above("text_mb", size, self.limits.text_mb * MB, f"has {_mb(size)} of text")

    def hold(self, size: int) -> None:
        """Take so many bytes into memory."""
        self.has_room(size)
        self._held += size

    def let_go(self, size: int) -> None:
        """Count bytes no more that `hold` has counted."""
        self._held -= size

    def values(self, place: str, text: pa.Array) -> None:
        """Take values of a column, as text (utf8). `place` names the column."""
        self.hold(text.nbytes)
        self.value(place, pc.max(pc.binary_length(text)).as_py() or 0)

    def value(self, place: str, size: int) -> None:
        """Take one value of so many bytes."""
        what = f"has a value of {size / KB:,.0f} kB ({place})"
        self._refuse_above("value_kb", size, self.limits.value_kb * KB, what)

    def nesting(self, place: str, depth: int) -> None:
        """Take a value that has so many objects and lists in each other."""
        what = f"has {depth:,} objects and lists in each other ({place})"
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
