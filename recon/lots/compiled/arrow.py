"""The edge to Arrow: columns in, as they lie in memory, and tables out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from recon.errors import IdentityError
from recon.lots.compiled.kernel import (
    DIFFERENT,
    DISORDER,
    DONE,
    HANDED_OVER,
    NO_ROOM,
    TOLD_MUCH,
    run,
)
from recon.lots.compiled.schemas import BOOKS, EVENTS, LOTS, MONEY, REALISED
from recon.lots.compiled.state import BOOK, BOOK_ROW, LOT, LOT_ROW, PNL_ROW, STATE, Given, Held

GROWING = ("books", "lots", "told_pnl", "told_books", "told_lots")
_ROOM = 64
"""Rows that there is room for at first; more, as they are asked for."""


@dataclass(frozen=True)
class Opening:
    """How books were left, by key and book (and lot): `BOOKS`, and of the open lots `LOTS`."""

    books: pa.Table
    lots: pa.Table


@dataclass(frozen=True)
class Outcome:
    """What each session realised and how it left the books: `REALISED`, `BOOKS`, `LOTS`.

    Of the keys in `handed_over` nothing is in the tables: they are for `realise()` to do.
    """

    realised: pa.Table
    books: pa.Table
    lots: pa.Table
    handed_over: list[int]


def realise_compiled(
    batches: Iterable[pa.RecordBatch], methods: Any, opening: Opening | None = None
) -> Outcome:
    """Return what each session realised and how it left the books it touched.

    `batches` are `EVENTS`, cut anywhere; `methods` is an array of int8, one row a key, one column a
    scope (bot, account): 0 average, 1 FIFO. Raises ValueError for an unordered run, IdentityError
    where one owner's lots are not the account's.
    """
    held = _held_before(methods, opening or Opening(BOOKS.empty_table(), LOTS.empty_table()))
    told: list[tuple[pa.Table, ...]] = []
    handed_over: list[int] = []
    for batch in batches:
        held = _fed(held, _columns(batch, len(held.methods)), told, handed_over)
    end = pa.RecordBatch.from_pylist([], EVENTS)
    held = _fed(held, _columns(end, 0), told, handed_over, is_last=True)
    told.append(_taken(held))
    realised, books, lots = (pa.concat_tables(parts) for parts in zip(*told, strict=True))
    return Outcome(realised, books, lots, handed_over)


def _held_before(methods: Any, opening: Opening) -> Held:
    """Return what the kernel holds before the first event."""
    state = np.zeros(1, STATE)
    state["key"] = -1
    return Held(
        state,
        np.zeros(_ROOM, BOOK),
        np.zeros(_ROOM, LOT),
        np.zeros(_ROOM, PNL_ROW),
        np.zeros(_ROOM, BOOK_ROW),
        np.zeros(_ROOM, LOT_ROW),
        np.ascontiguousarray(methods, np.int8).reshape(-1, 2),
        _structured(opening.books, BOOKS, BOOK_ROW),
        _structured(opening.lots, LOTS, LOT_ROW),
    )


def _fed(
    held: Held,
    given: Given,
    told: list[tuple[pa.Table, ...]],
    handed_over: list[int],
    *,
    is_last: bool = False,
) -> Held:
    """Run the kernel over a batch, giving it the room that it asks for."""
    status, row = NO_ROOM, 0
    while status != DONE:
        status, row = run(held, given, row, is_last)
        [state] = held.state
        if status == NO_ROOM:
            held = held._replace(
                **{name: _grown(getattr(held, name), state[f"want_{name}"]) for name in GROWING}
            )
        elif status == TOLD_MUCH:
            told.append(_taken(held))
        elif status == HANDED_OVER:
            handed_over.append(int(state["key"]))
        elif status == DISORDER:
            at = given.at[row : row + 1].view("M8[us]")[0]
            raise ValueError(f"events are out of order at key {given.key[row]}, {at}")
        elif status == DIFFERENT:
            raise IdentityError(
                f"key {state['key']}: one owner, and yet the account's lots differ from its"
            )
    return held


def _taken(held: Held) -> tuple[pa.Table, ...]:
    """Return what was told as tables, and make room; between two instruments."""
    [state] = held.state
    pnl = held.told_pnl[: state["told_pnl"]]
    books = held.told_books[: state["told_books"]]
    lots = held.told_lots[: state["told_lots"]]
    for name in ("told_pnl", "told_books", "told_lots", "session_pnl"):
        held.state[name] = 0
    return (
        _table(pnl, REALISED, dict.fromkeys(REALISED.names[-5:], ~pnl["is_known"])),
        _table(books, BOOKS, {"rate": ~books["is_rated"]}),
        _table(lots, LOTS, {}),
    )


def _grown(array: Any, length: int) -> Any:
    if length <= len(array):
        return array
    grown = np.zeros(max(2 * len(array), length), array.dtype)
    grown[: len(array)] = array
    return grown


def _columns(batch: Any, keys: int) -> Given:
    """Return a batch's columns, as they lie in memory. Raises ValueError where it is no batch."""
    if not batch.schema.equals(EVENTS):
        raise ValueError(f"a batch of events has the columns of EVENTS, not {batch.schema}")
    nullable = ("qty", "price", "multiplier", "is_inverse", "rate")
    for name in EVENTS.names:
        if batch[name].null_count and name not in nullable:
            raise ValueError(f"events without {name}")
    columns = {name: _raw(batch[name]) for name in EVENTS.names if name != "is_inverse"}
    if batch.num_rows and not 0 <= columns["key"].min() <= columns["key"].max() < keys:
        raise ValueError(f"keys are 0 to {keys - 1}, as there are methods")
    return Given(
        **columns,
        is_inverse=_flags(batch["is_inverse"].fill_null(False)),
        is_incomplete=~(
            _is_valid(batch["qty"]) & _is_valid(batch["price"]) & _is_valid(batch["multiplier"])
        ),
        is_rated=_is_valid(batch["rate"]),
    )


def _raw(column: pa.Array) -> Any:
    """Return a column's words without a copy, whatever stands where it is null; money in limbs."""
    is_money = column.type == MONEY
    word = "<u8" if is_money else f"i{column.type.bit_width // 8}"
    words = np.frombuffer(column.buffers()[1] or b"", word)
    words.flags.writeable = False  # as most are: for others, numba would compile once more
    if is_money:
        words = words.reshape(-1, 2)
    return words[column.offset : column.offset + len(column)]


def _flags(column: pa.Array) -> Any:
    return column.to_numpy(zero_copy_only=False)


def _is_valid(column: pa.Array) -> Any:
    return _flags(column.is_valid()) if column.null_count else np.ones(len(column), np.bool_)


def _structured(table: pa.Table, schema: pa.Schema, row: np.dtype[np.void]) -> Any:
    """Return a table of the opening state as rows that the kernel reads, or raise ValueError."""
    if not table.schema.equals(schema):
        raise ValueError(f"an opening state has the columns {schema.names}, not {table.schema}")
    rows = np.zeros(table.num_rows, row)
    if not table.num_rows:
        return rows
    for name in table.column_names:
        column = table[name].combine_chunks()
        rows[name] = _flags(column) if column.type == pa.bool_() else _raw(column)
    if "is_rated" in (row.names or ()):
        rows["is_rated"] = _is_valid(table["rate"].combine_chunks())
    if np.any(np.diff(rows["key"]) < 0):
        raise ValueError("an opening state is out of order: by key and book (and lot)")
    return rows


def _table(rows: Any, schema: pa.Schema, nulls: dict[str, Any]) -> pa.Table:
    """Return rows of the kernel as a table; `nulls` says which of a column's are null."""
    arrays = []
    for field in schema:
        words = np.ascontiguousarray(rows[field.name])
        if field.type == pa.bool_():
            arrays.append(pa.array(words))
            continue
        valid = None
        if field.name in nulls:
            valid = pa.array(~nulls[field.name]).buffers()[1]
        buffers = [valid, pa.py_buffer(words)]
        arrays.append(pa.Array.from_buffers(field.type, len(words), buffers))
    return pa.Table.from_arrays(arrays, schema=schema)
