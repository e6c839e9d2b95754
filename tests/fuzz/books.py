"""What the fuzzers of bots' databases share: reading at the door, and telling a refusal."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st

from connectors.bot_databases.files import FileReader, Parse
from connectors.bot_databases.snapshot import Reader, TableRows, WholeBooks
from recon.core.limits import Limits
from recon.core.records import Coverage, Record, Table
from recon.errors import BotDatabaseError
from tests.support.bots import NOW, snapshot

LIMITS = Limits(files=5, rows=200, columns=60, value_kb=2, json_mb=1, nesting=20)
"""Small limits, so that inputs reach them."""
Rows = list[dict[str, str | None]]

TEXT = st.text(st.characters(), max_size=8)
"""Any text, halves of surrogate pairs included."""


def read(reader: Reader) -> dict[str, TableRows] | None:
    """Return the tables of a bot's database, or None where it is refused. All is well-formed."""
    try:
        items = snapshot(WholeBooks("bot", reader, now=lambda: NOW))
    except BotDatabaseError as error:
        str(error).encode()
        return None
    return well_formed(items)


def read_file(path: Path, content: bytes, parse: Parse) -> dict[str, TableRows] | None:
    """Return the tables of one file with this content, or None where it is refused."""
    path.write_bytes(content)
    os.utime(path, (0, 0))  # a file at rest is not waited for
    return read(FileReader(path, parse, (path.suffix,), limits=LIMITS))


def well_formed(items: Iterable[Record | Table | Coverage]) -> dict[str, TableRows]:
    """Return the tables of one fetch: their text is UTF-8, their ids are their own."""
    items = list(items)
    schemas = {one.id: json.loads(one.payload) for one in items if isinstance(one, Record)}
    tables = {}
    for one in items:
        if isinstance(one, Table):
            name = one.kind.removeprefix("table:")
            one.batches.validate(full=True)
            ids = one.batches.column(0).to_pylist()
            assert len(set(ids)) == len(ids)
            columns = [(column, kind) for column, kind in schemas[name]["columns"]]
            assert one.batches.column_names[1:] == [column for column, _ in columns]
            tables[name] = TableRows(one.batches, columns)
    return tables


def rows(table: TableRows) -> Rows:
    """Return the rows without their ids."""
    names = [name for name, _ in table.columns]
    columns = [column.to_pylist() for column in table.rows.columns[1:]]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def changes() -> st.SearchStrategy[Change]:
    """Return what breaks a file: bytes here and there are others, its end is cut off."""
    places = st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(max_size=4)), max_size=4)
    return st.builds(Change, places, st.none() | st.integers(0, 1 << 16))


class Change(NamedTuple):
    """Bytes to write over a file's own, and how much of the file is left."""

    written: list[tuple[int, bytes]]
    left: int | None

    def of(self, content: bytes) -> bytes:
        """Return the content as it is then."""
        broken = bytearray(content)
        for place, piece in self.written:
            at = place % (len(broken) + 1)
            broken[at : at + len(piece)] = piece
        return bytes(broken if self.left is None else broken[: self.left % (len(broken) + 1)])
