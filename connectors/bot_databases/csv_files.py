"""Bot databases in CSV files: every field verbatim, as text.

An empty field is null. A field that is written as "" is an empty text.
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
"""The bytes that are parsed at once. No line is longer."""


def parse_csv(path: Path, content: bytes, meter: Meter) -> list[FileTable]:
    r"""Return the one table of a CSV file whose first line names its columns.

    The delimiter is the most frequent one of , ; tab and | in the first line. A byte that is not
    UTF-8 becomes `\xff`, in names and in fields. Raises UnreadableError for an incomplete file, or
    one whose rows differ in length.
    """
    _refuse_cut_off(path, content)
    delimiter, count = _header(path, content)
    meter.columns(path.name, count)
    columns, size = csv_columns(path, content, count, meter, delimiter=delimiter)
    names = [column[0].as_py() for column in columns]
    if not all(names):
        _refuse(path, "has a column without a name", "let its first line name every column")
    if len(set(names)) < len(names):
        _refuse(path, "has two columns of one name", "let its first line give each its own name")
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
    """Return the `count` columns of CSV content without a header, and its number of lines.

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
        _refuse(path, f"has an invalid CSV row ({said})", "correct that row, or restore the file")
    return [pa.chunked_array(column, pa.string()) for column in chunks], size


def _header(path: Path, content: bytes) -> tuple[str, int]:
    """Return the delimiter and the number of columns of CSV content."""
    text = io.TextIOWrapper(io.BytesIO(content), "latin-1", newline="")
    first = next((line for line in text if line.strip("\r\n")), "")
    delimiter = max(_DELIMITERS, key=_QUOTED.sub("", first).count)
    text.seek(0)
    try:
        lines = csv.reader(text, delimiter=delimiter, strict=True)
        return delimiter, len(next((line for line in lines if line), []))
    except csv.Error as error:
        _refuse(path, f"is not CSV ({error})", "let `database` name the file that the bot writes")


def _refuse_cut_off(path: Path, content: bytes) -> None:
    if content.startswith(_UTF16):
        _refuse(path, "is written in UTF-16", "let the bot write UTF-8")
    if b"\0" in content:
        _refuse(path, "holds NUL bytes", "restore the file: its disk has lost a part")
    if not content.endswith((b"\n", b"\r")):
        remedy = "the last row may be incomplete: let the bot end each row with a line feed"
        _refuse(path, "ends without a line feed", remedy)
    if content.count(b'"') % 2:
        _refuse(path, "ends inside a quoted field", "restore the file, or end that field")


def _refuse(path: Path | str, what: str, remedy: str) -> NoReturn:
    raise UnreadableError(path, what, remedy) from None
