"""Books in CSV files: every field verbatim, as text.

A field without anything in it is null, one that is written as "" is an empty text.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from connectors.arrow_columns import Texts
from connectors.arrow_text import lenient_utf8
from connectors.books_files import FileTable
from connectors.snapshot import UnreadableError
from recon.outside_text import excerpt

SUFFIXES = (".csv", ".tsv")
_DELIMITERS = ",;\t|"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_LARGEST = 1 << 30


def parse_csv(path: Path, content: bytes) -> list[FileTable]:
    """Return the one table of a CSV file whose first line names its columns.

    Its delimiter is that of , ; tab and | which the first line has most often. Raises
    UnreadableError for a file that was not written to its end, or whose rows differ in length.
    """
    _refuse_cut_off(path, content)
    delimiter, names = _header(path, content)
    return [FileTable(None, *csv_columns(path, content, names, delimiter))]


def csv_columns(
    path: Path | str, content: bytes, names: list[str], delimiter: str = ","
) -> tuple[dict[str, Texts], int]:
    """Return the columns of CSV content whose first line names them, and how many rows it has."""
    from pyarrow import csv as reader  # noqa: PLC0415 - loaded where such books are read

    try:
        rows = reader.read_csv(
            pa.py_buffer(content),
            reader.ReadOptions(block_size=min(len(content) + 1, _LARGEST), use_threads=False),
            reader.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            reader.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid as error:
        said = excerpt(" ".join(str(error).split()), 200)
        _refuse(path, f"is not CSV to its end ({said})", "correct that row, or restore the file")
    columns = {
        name: Texts(
            pa.chunked_array(
                [lenient_utf8(chunk.view(pa.string())) for chunk in rows[name].chunks], pa.string()
            )
        )
        for name in names
    }
    return columns, rows.num_rows


def _header(path: Path, content: bytes) -> tuple[str, list[str]]:
    """Return the delimiter and the names of the columns."""
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", "backslashreplace", newline="")
    first = text.readline()
    delimiter = max(_DELIMITERS, key=first.count)
    text.seek(0)
    try:
        names = next(csv.reader(text, delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        _refuse(path, f"is not CSV ({error})", "see that `books` names the file the bot writes")
    if not all(names):
        _refuse(path, "does not name each of its columns", "let its first line name them all")
    if len(set(names)) < len(names):
        _refuse(path, "names two columns alike", "let its first line give each a name of its own")
    return delimiter, names


def _refuse_cut_off(path: Path, content: bytes) -> None:
    if content.startswith(_UTF16):
        _refuse(path, "is written in UTF-16", "let the bot write UTF-8")
    if b"\0" in content:
        _refuse(path, "holds bytes of nothing", "restore the file: its disk lost a part of it")
    if not content.endswith((b"\n", b"\r")):
        remedy = "nobody can tell whether that is all of it: let the bot end each row with one"
        _refuse(path, "ends without a line feed", remedy)
    if content.count(b'"') % 2:
        _refuse(path, "ends inside a quoted field", "restore the file, or end that field")


def _refuse(path: Path | str, what: str, remedy: str) -> NoReturn:
    raise UnreadableError(path, what, remedy) from None
