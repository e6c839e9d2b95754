"""Books in CSV files: every field verbatim, as text.

A field without anything in it is null, one that is written as "" is an empty text.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from connectors.bot_databases.arrow_columns import Texts
from connectors.bot_databases.arrow_text import lenient_utf8
from connectors.bot_databases.files import FileTable
from connectors.bot_databases.meter import Meter
from connectors.bot_databases.snapshot import UnreadableError
from recon.outside_text import excerpt

SUFFIXES = (".csv", ".tsv")
_DELIMITERS = ",;\t|"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_QUOTED = re.compile(r'"[^"]*"')
_UTF8 = b"\xef\xbb\xbf"
_BLOCK = 16 << 20
"""Bytes that are parsed at one time; no line is longer."""


def parse_csv(path: Path, content: bytes, meter: Meter) -> list[FileTable]:
    r"""Return the one table of a CSV file whose first line names its columns.

    Its delimiter is that of , ; tab and | which the first line has most often. A byte that is no
    UTF-8 shows as `\xff`, in a name as in a field. Raises UnreadableError for a file that was not
    written to its end, or whose rows differ in length.
    """
    _refuse_cut_off(path, content)
    delimiter, count = _header(path, content)
    meter.columns(path.name, count)
    columns, size = csv_columns(path, content, count, meter, delimiter=delimiter)
    names = [column[0].as_py() for column in columns]
    if not all(names):
        _refuse(path, "does not name each of its columns", "let its first line name them all")
    if len(set(names)) < len(names):
        _refuse(path, "names two columns alike", "let its first line give each a name of its own")
    rows = {name: Texts(column[1:]) for name, column in zip(names, columns, strict=True)}
    return [FileTable(None, rows, size - 1)]


def csv_columns(
    path: Path | str,
    content: bytes,
    count: int,
    meter: Meter,
    *,
    delimiter: str = ",",
) -> tuple[list[pa.ChunkedArray], int]:
    """Return the `count` columns of CSV content, all its lines alike, and how many lines it has.

    Raises UnreadableError where a line is cut off or has another number of fields.
    """
    from pyarrow import csv as reader

    place = path.name if isinstance(path, Path) else path
    names = [f"c{number}" for number in range(count)]
    chunks: list[list[pa.Array]] = [[] for _ in names]
    size = 0
    try:
        batches = reader.open_csv(
            pa.py_buffer(memoryview(content)[len(_UTF8) if content.startswith(_UTF8) else 0 :]),
            reader.ReadOptions(column_names=names, block_size=_BLOCK, use_threads=False),
            reader.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            reader.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                check_utf8=False,
            ),
        )
        for batch in batches:
            size += batch.num_rows
            meter.rows(place, batch.num_rows)
            for column, values in zip(chunks, batch.columns, strict=True):
                text = lenient_utf8(values.view(pa.string()))
                meter.values(place, text)
                column.append(text)
    except pa.ArrowInvalid as error:
        said = excerpt(" ".join(str(error).split()), 200)
        _refuse(path, f"is not CSV to its end ({said})", "correct that row, or restore the file")
    return [pa.chunked_array(column, pa.string()) for column in chunks], size


def _header(path: Path, content: bytes) -> tuple[str, int]:
    """Return the delimiter and the number of columns."""
    text = io.TextIOWrapper(io.BytesIO(content), "latin-1", newline="")
    first = next((line for line in text if line.strip("\r\n")), "")
    delimiter = max(_DELIMITERS, key=_QUOTED.sub("", first).count)
    text.seek(0)
    try:
        lines = csv.reader(text, delimiter=delimiter, strict=True)
        return delimiter, len(next((line for line in lines if line), []))
    except csv.Error as error:
        _refuse(path, f"is not CSV ({error})", "see that `books` names the file the bot writes")


def _refuse_cut_off(path: Path, content: bytes) -> None:
    if content.startswith(_UTF16):
        _refuse(path, "is written in UTF-16", "let the bot write UTF-8")
    if b"\0" in content:
        _refuse(path, "holds NUL bytes", "restore the file: its disk lost a part of it")
    if not content.endswith((b"\n", b"\r")):
        remedy = "nobody can tell whether that is all of it: let the bot end each row with one"
        _refuse(path, "ends without a line feed", remedy)
    if content.count(b'"') % 2:
        _refuse(path, "ends inside a quoted field", "restore the file, or end that field")


def _refuse(path: Path | str, what: str, remedy: str) -> NoReturn:
    raise UnreadableError(path, what, remedy) from None
