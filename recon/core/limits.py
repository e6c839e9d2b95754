"""The limits on reading one bot database and on running its mapping."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

MB = 1_000_000
KB = 1_000
LEAST_MEMORY_MB = 128
"""The memory that the smallest mapping needs, in MB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one bot database and its mapping: `[recon.limits]`, for each bot.

    Raises ValueError for a limit below 1, and for less memory than `LEAST_MEMORY_MB`.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    files: int = 10_000
    """The files in a folder, or the files that match a pattern."""
    file_mb: int = 4_000
    """The size of one file in MB. A SQLite file counts with its `-wal`."""
    rows: int = 500_000
    """The rows of all tables that the mapping reads, together."""
    columns: int = 1_000
    """The columns of one table."""
    text_mb: int = 64
    """The MB that are held in memory: the bytes of a file while it is read, and the text of all
    values with four bytes for each value. 300,000 rows of 15 columns take about 60."""
    value_kb: int = 1_000
    """The text of one value in KB."""
    json_mb: int = 100
    """The size of one JSON file in MB. A file with one object on each line has no such limit if its
    name ends in `.jsonl` or `.ndjson`."""
    json_values: int = 4_000_000
    """The values in one JSON file, in one line of a file with one object on each line, or in one
    nested column of a Parquet file."""
    nesting: int = 100
    """The depth of objects and lists in JSON."""
    seconds: int = 300
    """The seconds of one reading, from the first byte to the last."""
    parquet_memory_mb: int = 768
    """The MB of memory of the process that decodes the Parquet files."""
    mapping_memory_mb: int = 768
    """The MB of memory that the queries of the mapping use, with the bot's tables. The least is
    128."""
    mapping_time_s: int = 300
    """The seconds that all queries of the mapping take together."""

    def __post_init__(self) -> None:
        for one in fields(self):
            if getattr(self, one.name) < 1:
                raise ValueError(f"{one.name}: use 1 or more")
        if self.mapping_memory_mb < LEAST_MEMORY_MB:
            raise ValueError(
                f"mapping_memory_mb: use {LEAST_MEMORY_MB} or more, which DuckDB needs"
            )
