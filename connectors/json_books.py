"""Books in JSON files: rows of objects, numbers as they are written, parts as JSON text.

What a file may hold:

    [{…}, {…}]                           rows of the table that the file's name says
    {…} on each line                     the same
    {"trades": [{…}], "orders": [{…}]}   tables, by name
    {"all_trades": {"1": {…}, …}}        tables, by name, each row with its key (TinyDB)
    {"BTC/USDT": {…}, "ETH/USDT": {…}}   rows of the file's table, each with its key
    {"version": 3, "balance": "10.5"}    one row of the file's table

A row's key is its column `_key`. What is beside tables in an object is one row of the file's table.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from connectors.arrow_columns import Texts, json_text
from connectors.books_files import FileTable
from connectors.snapshot import UnreadableError

SUFFIXES = (".json", ".jsonl", ".ndjson")
KEY = "_key"
"""The column of what an object calls its rows."""

_ONE_ROW = "1"
_LINES = (".jsonl", ".ndjson")


def parse_json(path: Path, content: bytes) -> list[FileTable]:
    """Return the tables of a JSON file. Raises UnreadableError for one that is not whole."""
    try:
        text = content.decode("utf-8-sig")
        held = _lines(text) if path.name.lower().endswith(_LINES) else _loaded(text)
    except UnicodeDecodeError:
        _refuse(path, "is not written in UTF-8", "see that `books` names the file the bot writes")
    except json.JSONDecodeError as error:
        what = f"is not whole JSON ({error.msg}, line {error.lineno})"
        _refuse(path, what, "run again; if it stays so, restore the bot's file")
    except RecursionError:
        _refuse(path, "is nested too deeply", "see that `books` names the file the bot writes")
    except ValueError as error:
        _refuse(path, f"cannot be taken ({error})", "correct that place in the file")
    tables = _tables(held)
    if tables is None:
        _refuse(path, "holds neither rows nor tables", "name a file of JSON objects in `books`")
    return tables


def _loaded(text: str) -> Any:
    """Return what JSON says, its numbers as text; where there is more than one, each on a line."""
    try:
        return _decoded(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise
        return _lines(text)


def _lines(text: str) -> list[Any]:
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
    """Take what is not a number as unknown. Raises ValueError for an infinite one."""
    if word != "NaN":
        raise ValueError(f"{word} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        raise ValueError(f"an object has {twice[0]!r} twice")
    return held


def _tables(held: Any) -> list[FileTable] | None:
    if isinstance(held, list):
        return [_table(None, held)] if all(isinstance(one, dict) for one in held) else None
    if not isinstance(held, dict):
        return None
    tables = [table for name, part in held.items() if (table := _named(name, part))]
    rest = {name: part for name, part in held.items() if not _is_table(part)}
    if not tables and rest and all(isinstance(part, dict) for part in rest.values()):
        return [_keyed(None, rest)]
    if rest:
        tables.append(_table(None, [rest], [_ONE_ROW]))
    return tables


def _is_table(part: Any) -> bool:
    if isinstance(part, list):
        return all(isinstance(one, dict) for one in part)
    return isinstance(part, dict) and all(isinstance(one, dict) for one in part.values())


def _named(name: str, part: Any) -> FileTable | None:
    if not _is_table(part):
        return None
    return _table(name, part) if isinstance(part, list) else _keyed(name, part)


def _keyed(name: str | None, rows: Mapping[str, Mapping[str, Any]]) -> FileTable:
    if any(KEY in row for row in rows.values()):
        return _table(name, list(rows.values()), list(rows))
    return _table(name, [{**row, KEY: key} for key, row in rows.items()], list(rows))


def _table(
    name: str | None, rows: Sequence[Mapping[str, Any]], ids: list[str] | None = None
) -> FileTable:
    columns = dict.fromkeys(column for row in rows for column in row)
    texts = {
        column: Texts(pa.chunked_array([[_text(row.get(column)) for row in rows]], pa.string()))
        for column in columns
    }
    return FileTable(name, texts, len(rows), ids)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str):
        return value
    return json_text(value)


def _refuse(path: Path, what: str, remedy: str) -> NoReturn:
    raise UnreadableError(path, what, remedy) from None
