"""CSV of a bot, in any encoding and broken anywhere: each field as it is written, or a refusal."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from connectors.bot_databases.csv_files import parse_csv
from tests.fuzz.books import Change, Rows, changes, read_file, rows
from tests.fuzz.door import fuzzed

DELIMITERS = ",;\t|"
ENCODINGS = ("utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "cp437", "big5")
NAMES = st.text(st.characters(codec="utf-8", exclude_characters='\0\r\n"'), min_size=1, max_size=5)
FIELDS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


class Written(NamedTuple):
    """A table as CSV writes it, each name and each text in quotes."""

    names: list[str]
    lines: list[list[str | None]]
    delimiter: str

    @property
    def text(self) -> str:
        def field(one: str | None) -> str:
            return "" if one is None else '"' + one.replace('"', '""') + '"'

        lines: list[list[str | None]] = [[*self.names], *self.lines]
        return "".join(self.delimiter.join(map(field, line)) + "\r\n" for line in lines)


@st.composite
def tables(draw: st.DrawFn) -> Written:
    names = draw(st.lists(NAMES, min_size=2, max_size=5, unique_by=str.lower))
    lines = st.lists(FIELDS, min_size=len(names), max_size=len(names))
    return Written(names, draw(st.lists(lines, max_size=5)), draw(st.sampled_from(DELIMITERS)))


def told(folder: Path, content: bytes) -> Rows | None:
    found = read_file(folder / "trades.csv", content, parse_csv)
    return None if found is None else rows(found["trades"])


@fuzzed
@given(tables())
def test_each_field_is_as_it_is_written(tmp_path: Path, table: Written) -> None:
    found = told(tmp_path, table.text.encode())
    assert found == [dict(zip(table.names, line, strict=True)) for line in table.lines]


@fuzzed
@given(tables(), st.sampled_from(ENCODINGS))
def test_in_another_encoding_only_what_is_not_ascii_reads_otherwise(
    tmp_path: Path, table: Written, encoding: str
) -> None:
    content = table.text.encode(encoding, "replace")
    found = told(tmp_path, content)
    if encoding.startswith(("utf-16", "utf-32")):
        assert found is None
    elif found is not None:
        assert without_nulls(found) == slowly(content)


@fuzzed
@given(tables(), changes())
def test_a_broken_file_is_read_as_it_is_or_refused(
    tmp_path: Path, table: Written, change: Change
) -> None:
    content = change.of(table.text.encode())
    found = told(tmp_path, content)
    if found is not None:
        assert without_nulls(found) == slowly(content)


def slowly(content: bytes) -> list[dict[str, str]]:
    """Return what Python's own reader says, line by line; a byte that is no UTF-8 is shown."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "backslashreplace")
    first = next(line for line in io.StringIO(text, newline="") if line.strip("\r\n"))
    outside = "".join(first.split('"')[::2])
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=outside.count))
    names, *rest = (line for line in lines if line)
    return [dict(zip(names, line, strict=True)) for line in rest]


def without_nulls(found: Rows) -> list[dict[str, str]]:
    return [{name: value or "" for name, value in row.items()} for row in found]
