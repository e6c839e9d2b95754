"""Books in Parquet files: each value as text, each digit kept, in the type that holds it.

A few bytes of Parquet may stand for any number of equal values. So the file's own counts are held
against the limits first; then a few rows are decoded at a time, and texts as codes of a dictionary,
whose size as text is known before they are written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from connectors.arrow_columns import InfiniteError, Kind, Texts, TwinsError, array_texts
from connectors.arrow_text import Digits
from connectors.books_files import FileTable
from connectors.meter import NULL_BYTES, Meter
from connectors.snapshot import UnreadableError
from recon.outside_text import excerpt

if TYPE_CHECKING:
    from pyarrow.parquet import ColumnSchema, FileMetaData

SUFFIXES = (".parquet", ".pq")
_ROWS_AT_ONCE = 65_536
_PARTS_AT_ONCE = 200_000
"""Values of nested columns that are Python's at one time, about."""
_RESTORE = "restore it, or correct `books`"


def parse_parquet(path: Path, content: bytes, meter: Meter) -> list[FileTable]:
    """Return the one table of a Parquet file. Raises UnreadableError."""
    from pyarrow import parquet  # noqa: PLC0415 - loaded where such books are read

    with _readably(path):
        with parquet.ParquetFile(pa.BufferReader(content)) as plain:
            names, size = plain.schema_arrow.names, plain.metadata.num_rows
            leaves = [plain.schema.column(place) for place in range(len(plain.schema))]
            meter.columns(path.name, len(leaves))
            rows_at_once = _measured(path, plain.metadata, leaves, names, meter)
        if len(set(names)) < len(names):
            _refuse(path, "has two columns of one name", "give each a name of its own")
        columns = [_Column(path, name, meter) for name in names]
        with parquet.ParquetFile(
            pa.BufferReader(content),
            read_dictionary=[one.path for one in leaves if one.physical_type == "BYTE_ARRAY"],
            coerce_int96_timestamp_unit="us",  # in nanoseconds the year 9999 is another one
        ) as coded:
            for batch in coded.iter_batches(rows_at_once, use_threads=False):
                for column, values in zip(columns, batch.columns, strict=True):
                    column.add(values)
            for column, field in zip(columns, coded.schema_arrow, strict=True):
                column.add(pa.array([], field.type))
    if any(column.size != size for column in columns):
        _refuse(path, "is not a whole Parquet file (rows are missing)", _RESTORE)
    return [FileTable(None, {one.name: one.texts() for one in columns}, size)]


def _measured(
    path: Path,
    stated: FileMetaData,
    leaves: Sequence[ColumnSchema],
    names: Sequence[str],
    meter: Meter,
) -> int:
    """Hold what the file says of itself against the limits; return how many rows to read at once.

    A leaf is a column, or a part of one that has parts.
    """
    groups = [stated.row_group(place) for place in range(stated.num_row_groups)]
    meter.rows(path.name, stated.num_rows)
    nested = 0
    for place, leaf in enumerate(leaves):
        chunks = [group.column(place) for group in groups]
        values = sum(chunk.num_values for chunk in chunks)
        meter.has_room(values * max(leaf.length, NULL_BYTES))
        meter.has_room(max((chunk.total_uncompressed_size for chunk in chunks), default=0))
        if leaf.path not in names or leaf.max_repetition_level:
            nested += values
    meter.parts(path, nested)
    at_once = _PARTS_AT_ONCE * int(stated.num_rows) // max(nested, 1)
    return max(1, min(_ROWS_AT_ONCE, at_once))


class _Column:
    """A column as far as it has been read."""

    def __init__(self, path: Path, name: str, meter: Meter) -> None:
        self.name = name
        self.size = 0
        self._place = f"{path.name}, column {name}"
        self._path = path
        self._meter = meter
        self._digits = Digits()
        self._chunks: list[pa.Array] = []
        self._kind: Kind = "VARCHAR"

    def add(self, values: pa.Array) -> None:
        """Take some more values. Raises UnreadableError."""
        self._meter.has_room(_size_of_texts(values))
        self.size += len(values)
        try:
            text, self._kind = array_texts(values, self._digits)
        except InfiniteError:
            what = f"holds an infinite number (column {self.name})"
            _refuse(self._path, what, "correct that row")
        except TwinsError:
            what = f"has a structure with two fields of one name (column {self.name})"
            _refuse(self._path, what, "give each a name of its own")
        self._meter.values(self._place, text)
        self._chunks.append(text)

    def texts(self) -> Texts:
        """Return all of it."""
        return Texts(pa.chunked_array(self._chunks, pa.string()), self._kind, self._digits)


def _size_of_texts(values: pa.Array) -> int:
    """Return how many bytes the texts have, wherever they are among the values, written out."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        if not _is_text(kind.value_type):
            return 0
        lengths = pc.binary_length(values.dictionary).take(values.indices)
        return pc.sum(lengths.cast(pa.int64())).as_py() or 0
    if pa.types.is_struct(kind):
        return sum(_size_of_texts(values.field(place)) for place in range(kind.num_fields))
    if pa.types.is_map(kind):
        return _size_of_texts(values.keys) + _size_of_texts(values.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _size_of_texts(values.values)
    return 0


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )


@contextmanager
def _readably(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a file into an error for the person who reads it."""
    try:
        yield
    except pa.ArrowNotImplementedError as error:
        said = excerpt(" ".join(str(error).split()), 200)
        _refuse(path, f"cannot be read ({said})", "let the bot write it without encryption")
    except UnicodeDecodeError:
        _refuse(path, "names a column in bytes that are no UTF-8", "give it another name")
    except (pa.ArrowException, OSError) as error:
        said = excerpt(" ".join(str(error).split()), 200)
        _refuse(path, f"is not a whole Parquet file ({said})", _RESTORE)


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise UnreadableError(path, what, remedy) from None
