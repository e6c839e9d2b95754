"""Books in Parquet files: each value as text, each digit kept, in the type that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from connectors.arrow_columns import InfiniteError, Texts, texts
from connectors.books_files import FileTable
from connectors.snapshot import UnreadableError
from recon.outside_text import excerpt

SUFFIXES = (".parquet", ".pq")


def parse_parquet(path: Path, content: bytes) -> list[FileTable]:
    """Return the one table of a Parquet file. Raises UnreadableError."""
    from pyarrow import parquet  # noqa: PLC0415 - loaded where such books are read

    try:
        rows = parquet.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError) as error:
        said = excerpt(" ".join(str(error).split()), 200)
        _refuse(path, f"is not a whole Parquet file ({said})", "restore it, or correct `books`")
    except pa.ArrowNotImplementedError as error:
        _refuse(path, f"cannot be read ({error})", "let the bot write it without encryption")
    names = rows.column_names
    if len(set(names)) < len(names):
        _refuse(path, "has two columns of one name", "give each a name of its own")
    return [
        FileTable(
            None,
            {name: _column(path, name, rows[name]) for name in names},
            rows.num_rows,
        )
    ]


def _column(path: Path, name: str, values: pa.ChunkedArray) -> Texts:
    try:
        return texts(values)
    except InfiniteError:
        _refuse(path, f"holds an infinite number (column {name})", "correct that row")


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise UnreadableError(path, what, remedy) from None
