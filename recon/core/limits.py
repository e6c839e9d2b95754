"""The limits on one bot's database: how much is read of it at most, and what its mapping uses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

MB = 1_000_000
KB = 1_000
LEAST_MEMORY_MB = 128
"""What the smallest mapping needs of memory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one bot's database takes of a night: `[recon.limits]`, for each bot.

    - `files`: files in a folder, or that a pattern matches.
    - `file_mb`: the size of one file; of a SQLite file, its `-wal` included.
    - `rows`: rows of all tables together.
    - `columns`: columns of one table.
    - `text_mb`: what is held in memory: a file's bytes, and the text of all values together, with
      four bytes for each value.
    - `value_kb`: the text of one value.
    - `json_mb`, `json_values`: the size of one JSON file, and the values in it. Lines of JSON count
      one by one. Values inside the nested columns of a Parquet file count as those of JSON do.
    - `nesting`: how deep objects and lists lie in each other.
    - `seconds`: the time from the first byte to the last.
    - `parquet_memory_mb`: the memory of the process that decodes its Parquet files.
    - `mapping_memory_mb`, `mapping_time_s`: the memory and the time of all queries of its mapping.

    Raises ValueError for a limit below 1, and for less memory than `LEAST_MEMORY_MB`.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    files: int = 10_000
    file_mb: int = 4_000
    rows: int = 500_000
    columns: int = 1_000
    text_mb: int = 64
    value_kb: int = 1_000
    json_mb: int = 100
    json_values: int = 4_000_000
    nesting: int = 100
    seconds: int = 300
    parquet_memory_mb: int = 768
    mapping_memory_mb: int = 768
    mapping_time_s: int = 300

    def __post_init__(self) -> None:
        for one in fields(self):
            if getattr(self, one.name) < 1:
                raise ValueError(f"{one.name}: a limit is 1 or more")
        if self.mapping_memory_mb < LEAST_MEMORY_MB:
            raise ValueError(f"mapping_memory_mb: {LEAST_MEMORY_MB} or more, as DuckDB needs that")
