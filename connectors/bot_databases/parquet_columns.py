"""Decode Parquet files: each value as text that keeps each digit, with the type that holds it.

Arrow's decoder trusts many statements of a file, and some damaged files crash it: only a child
process imports this module (`connectors/bot_databases/parquet_child.py`).

A few bytes of Parquet may encode any number of equal values. So the file's own counts are checked
against the limits first. Then a column is decoded a few rows at a time. Its texts are decoded as
codes of a dictionary, so that their size is known before they are expanded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from connectors.bot_databases.arrow_columns import (
    InfiniteError,
    Kind,
    Texts,
    TwinsError,
    array_texts,
)
from connectors.bot_databases.arrow_text import Digits
from connectors.bot_databases.files import FileTable
from connectors.bot_databases.meter import NULL_BYTES, Meter
from connectors.bot_databases.snapshot import UnreadableError
from recon.core.limits import MB
from recon.outside_text import excerpt

if TYPE_CHECKING:
    from pyarrow.parquet import ColumnChunkMetaData, ColumnSchema, FileMetaData

_ROWS_AT_ONCE = 65_536
_NESTED_AT_ONCE = 2_048
_BYTES_AT_ONCE = 100 * MB
_RESTORE = "restore it, or correct `database`"


def parquet_table(path: Path, content: bytes, meter: Meter) -> FileTable:
    """Return the one table of a Parquet file. Raises UnreadableError."""
    with _readably(path):
        with parquet.ParquetFile(pa.BufferReader(content)) as file:
            stated, schema = file.metadata, file.schema_arrow
            leaves = [file.schema.column(place) for place in range(len(file.schema))]
        meter.columns(path.name, len(leaves))
        meter.rows(path.name, stated.num_rows)
        if len(set(schema.names)) < len(schema):
            _refuse(path, "has two columns of one name", "give each column its own name")
        columns = [_Column(path, field, meter) for field in schema]
        for column in columns:
            column.read(_Source(content, stated, leaves, column.name))
    if any(column.size != stated.num_rows for column in columns):
        _refuse(path, "is not a complete Parquet file (rows are missing)", _RESTORE)
    return FileTable(None, {one.name: one.texts() for one in columns}, stated.num_rows)


class _Source:
    """One column of a Parquet file. A leaf is the column itself, or an innermost part of it."""

    def __init__(
        self, content: bytes, stated: FileMetaData, leaves: Sequence[ColumnSchema], name: str
    ) -> None:
        self._content = content
        self._stated = stated
        self._name = name
        self._leaves = [
            (place, leaf)
            for place, leaf in enumerate(leaves)
            if leaf.path == name or leaf.path.startswith(f"{name}.")
        ]

    def chunks(self) -> Iterator[tuple[ColumnSchema, ColumnChunkMetaData]]:
        """Yield the file's metadata of each leaf in each row group."""
        for group in range(self._stated.num_row_groups):
            for place, leaf in self._leaves:
                yield leaf, self._stated.row_group(group).column(place)

    def in_codes(self, rows: int) -> Iterator[pa.Array]:
        """Yield batches of `rows` values, then an empty one; texts are codes of a dictionary.

        Raises ArrowNotImplementedError for nested texts that are not all in one dictionary.
        """
        texts = [leaf.path for _, leaf in self._leaves if leaf.physical_type == "BYTE_ARRAY"]
        yield from self._values(rows, texts)

    def plain(self, rows: int) -> Iterator[pa.Array]:
        """Yield batches of `rows` plain values, then an empty one."""
        yield from self._values(rows, [])

    def _values(self, rows: int, texts: list[str]) -> Iterator[pa.Array]:
        with parquet.ParquetFile(
            pa.BufferReader(self._content),
            metadata=self._stated,
            read_dictionary=texts,
            pre_buffer=False,  # the whole file is in memory already
            coerce_int96_timestamp_unit="us",  # the year 9999 overflows nanoseconds
        ) as file:
            columns = [self._name] if self._leaves else None
            for group in range(self._stated.num_row_groups):
                for batch in file.iter_batches(
                    rows, row_groups=[group], columns=columns, use_threads=False
                ):
                    batch.validate()
                    yield batch.column(batch.schema.get_field_index(self._name))
            yield pa.array([], file.schema_arrow.field(self._name).type)


class _Column:
    """A column as far as it has been read."""

    def __init__(self, path: Path, field: pa.Field, meter: Meter) -> None:
        self.name = field.name
        self.size = 0
        self._is_nested = pa.types.is_nested(field.type)
        self._place = f"{path.name}, column {self.name}"
        self._path = path
        self._meter = meter
        self._digits = Digits()
        self._chunks: list[pa.Array] = []
        self._kind: Kind = "VARCHAR"

    def read(self, source: _Source) -> None:
        """Read all values, after the file's metadata of them passed the limits."""
        count, largest = 0, 0
        for leaf, chunk in source.chunks():
            self._meter.has_room(chunk.num_values * max(leaf.length, NULL_BYTES))
            self._meter.has_room(chunk.total_uncompressed_size)
            count += chunk.num_values
            largest = max(largest, chunk.total_uncompressed_size)
        if not self._is_nested:
            self._take(source.in_codes(_ROWS_AT_ONCE))
            return
        self._meter.parts(self._path, count)
        try:
            self._take(source.in_codes(_NESTED_AT_ONCE))
        except pa.ArrowNotImplementedError:
            self._meter.let_go(sum(chunk.nbytes for chunk in self._chunks))
            self.size, self._chunks = 0, []
            # A text is at most as long as its chunk, and each text may be that long.
            self._take(source.plain(max(1, min(_NESTED_AT_ONCE, _BYTES_AT_ONCE // (largest + 1)))))

    def _take(self, some: Iterator[pa.Array]) -> None:
        for values in some:
            self._add(values)

    def _add(self, values: pa.Array) -> None:
        self._meter.has_room(_size_of_texts(values))
        self.size += len(values)
        try:
            text, self._kind = array_texts(values, self._digits)
        except InfiniteError:
            what = f"holds an infinite number (column {self.name})"
            _refuse(self._path, what, "correct that row")
        except TwinsError:
            what = f"has a structure with two fields of one name (column {self.name})"
            _refuse(self._path, what, "give each field its own name")
        self._meter.values(self._place, text)
        self._chunks.append(text)

    def texts(self) -> Texts:
        """Return the whole column."""
        return Texts(pa.chunked_array(self._chunks, pa.string()), self._kind, self._digits)


def _size_of_texts(values: pa.Array) -> int:
    """Return the bytes of all expanded texts in the values, nested ones included."""
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
    """Raise an error of Arrow in the block as an UnreadableError with a remedy."""
    try:
        yield
    except MemoryError:  # ArrowMemoryError included: the caller handles it
        raise
    except pa.ArrowNotImplementedError as error:
        said = excerpt(" ".join(str(error).split()), 200)
        _refuse(path, f"cannot be read ({said})", "let the bot write it without encryption")
    except UnicodeDecodeError:
        _refuse(path, "has a column whose name is not UTF-8", "give it another name")
    except (pa.ArrowException, OSError) as error:
        said = excerpt(" ".join(str(error).split()), 200)
        _refuse(path, f"is not a complete Parquet file ({said})", _RESTORE)


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise UnreadableError(path, what, remedy) from None
