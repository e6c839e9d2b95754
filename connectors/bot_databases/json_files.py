"""Bot databases in JSON files: each object is a row; numbers keep their text, parts are JSON text.

A file may hold:

    [{…}, {…}]                           rows of the file's table, which the file's name names
    {…} on each line                     the same
    {"trades": [{…}], "orders": [{…}]}   tables, by name
    {"all_trades": {"1": {…}, …}}        tables, by name, each row with its key (TinyDB)
    {"BTC/USDT": {…}, "ETH/USDT": {…}}   rows of the file's table, each with its key
    {"version": 3, "balance": "10.5"}    one row of the file's table

A row's key is its column `_key`. Values beside the tables in an object are one row of the file's
table.
"""

from __future__ import annotations

import io
import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from connectors.bot_databases.arrow_columns import Texts, json_text, stacked
from connectors.bot_databases.files import FileTable
from connectors.bot_databases.meter import Meter
from connectors.bot_databases.snapshot import UnreadableError
from recon.outside_text import storable

SUFFIXES = (".json", ".jsonl", ".ndjson")
KEY = "_key"
"""The column of the keys that an object gives its rows."""

_ONE_ROW = "1"
_LINES = (".jsonl", ".ndjson")
_BEFORE_VALUES = (b"{", b"[", b",", b":")
_VALUES_AT_ONCE = 200_000
"""The values of JSON lines that are Python objects at one time."""


def parse_json(path: Path, content: bytes, meter: Meter) -> list[FileTable]:
    """Return the tables of a JSON file. Raises UnreadableError for an invalid or incomplete one."""
    with _readably(path):
        if path.name.lower().endswith(_LINES):
            return [_Tables(path, meter).of_lines(content)]
        meter.json(path, len(content))
        meter.parts(path, _count(content))
        held = _loaded(content.decode("utf-8-sig"))
        tables = _Tables(path, meter).of(held)
    if tables is None:
        _refuse(path, "holds neither rows nor tables", "name a file of JSON objects in `database`")
    return tables


@contextmanager
def _readably(path: Path) -> Iterator[None]:
    """Raise an error of decoding in the block as an UnreadableError with a remedy."""
    try:
        yield
    except UnicodeDecodeError:
        _refuse(path, "is not UTF-8", "let `database` name the file that the bot writes")
    except json.JSONDecodeError as error:
        what = f"is not complete JSON ({error.msg}, line {error.lineno})"
        _refuse(path, what, "run again; if that fails too, restore the bot's file")
    except RecursionError:
        _refuse(path, "is nested too deeply", "let `database` name the file that the bot writes")
    except ValueError as error:
        _refuse(path, f"has an invalid value ({error})", "correct it in the file")


def _count(content: bytes) -> int:
    """Return an upper bound of the number of values in JSON: each follows one of these marks."""
    return sum(map(content.count, _BEFORE_VALUES))


def _loaded(text: str) -> Any:
    """Return the decoded JSON, its numbers as text. Several documents are on a line each."""
    try:
        return _decoded(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        return [_decoded(line) for line in text.split("\n") if line.strip()]


def _decoded(text: str) -> Any:
    return json.loads(
        text,
        parse_float=str,
        parse_int=str,
        parse_constant=_constant,
        object_pairs_hook=_object,
    )


def _constant(word: str) -> None:
    """Return None, as unknown, for NaN. Raises ValueError for an infinite number."""
    if word != "NaN":
        raise ValueError(f"{word} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = {storable(name): value for name, value in pairs}
    if len(held) < len(pairs):
        names = Counter(storable(name) for name, _ in pairs)
        twice = next(name for name, count in names.items() if count > 1)
        raise ValueError(f"an object has the key {twice!r} twice")
    return held


def _is_table(part: Any) -> bool:
    if isinstance(part, list):
        return all(isinstance(one, dict) for one in part)
    return isinstance(part, dict) and all(isinstance(one, dict) for one in part.values())


class _Tables:
    """Builds tables from the decoded content of a JSON file."""

    def __init__(self, path: Path, meter: Meter) -> None:
        self._path = path
        self._meter = meter

    def of(self, held: Any) -> list[FileTable] | None:
        """Return the tables, or None if the content has none."""
        if isinstance(held, list):
            return [self._table(None, held)] if _is_table(held) else None
        if not isinstance(held, dict):
            return None
        tables = [table for name, part in held.items() if (table := self._named(name, part))]
        rest = {name: part for name, part in held.items() if not _is_table(part)}
        if not tables and rest and all(isinstance(part, dict) for part in rest.values()):
            return [self._keyed(None, rest)]
        if rest:
            tables.append(self._table(None, [rest], [_ONE_ROW]))
        return tables

    def of_lines(self, content: bytes) -> FileTable:
        """Return the one table of a file with an object on each line."""
        parts: list[FileTable] = []
        rows: list[Any] = []
        count = 0
        for number, line in enumerate(io.BytesIO(content.removeprefix(BOM_UTF8)), start=1):
            if not line.strip():
                continue
            values = _count(line)
            self._meter.parts(self._path, values)
            rows.append(self._row(line, number))
            count += values
            if count > _VALUES_AT_ONCE:
                parts.append(self._table(None, rows))
                rows, count = [], 0
        parts.append(self._table(None, rows))
        sizes = [part.size for part in parts]
        columns = stacked([part.columns for part in parts], sizes, self._meter)
        return FileTable(None, columns, sum(sizes))

    def _row(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = _decoded(line.decode())
        except json.JSONDecodeError as error:
            error.lineno = number
            raise
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not an object")  # noqa: TRY004 - of the file's
        return row

    def _named(self, name: str, part: Any) -> FileTable | None:
        if not _is_table(part):
            return None
        return self._table(name, part) if isinstance(part, list) else self._keyed(name, part)

    def _keyed(self, name: str | None, rows: Mapping[str, Mapping[str, Any]]) -> FileTable:
        if any(KEY in row for row in rows.values()):
            return self._table(name, list(rows.values()), list(rows))
        return self._table(name, [{**row, KEY: key} for key, row in rows.items()], list(rows))

    def _table(
        self, name: str | None, rows: Sequence[Mapping[str, Any]], ids: list[str] | None = None
    ) -> FileTable:
        place = name or self._path.name
        columns = dict.fromkeys(column for row in rows for column in row)
        self._meter.rows(place, len(rows))
        self._meter.columns(place, len(columns))
        texts = {}
        for column in columns:
            values = pa.array([self._text(row.get(column)) for row in rows], pa.string())
            self._meter.values(f"{place}, column {column}", values)
            texts[column] = Texts(pa.chunked_array([values]))
        return FileTable(name, texts, len(rows), ids)

    def _text(self, value: Any) -> str | None:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return storable(value)
        return json_text(value, self._meter)


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise UnreadableError(path, what, remedy) from None
