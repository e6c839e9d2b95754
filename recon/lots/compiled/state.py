"""What the kernel holds, as it lies in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from recon.lots.compiled.int128 import Money, is_too_much, plus
from recon.lots.compiled.jit import IMPRINT, inlined
from recon.lots.compiled.schemas import BOOKS, LOTS, MONEY, REALISED

NEVER = -(2**62)
MOST_QTY = 2**62

_LIMBS = ("<u8", 2)
STATE = np.dtype(
    [
        ("key", "i8"), ("session", "i8"), ("at", "i8"), ("seq", "i8"),
        ("is_handed_over", "?"), ("is_failed", "?"),
        # the instrument, as its last fill told it
        ("is_inverse", "?"), ("is_rated", "?"),
        ("multiplier", *_LIMBS), ("rate", *_LIMBS),
        # quantity = qty · 10^qty_digits units; the multiplier likewise; as a first guess, a price's
        # and a rate's too
        ("qty_digits", "i8"), ("price_digits", "i8"),
        ("factor", "u8"), ("factor_digits", "i8"), ("rate_digits", "i8"),
        # the books in use; the lots that ever were, and the first of those that are free again
        ("books", "i8"), ("lots", "i8"), ("free_lot", "i8"),
        # rows told so far, at the start of the instrument, and at the start of the session
        ("told_pnl", "i8"), ("told_books", "i8"), ("told_lots", "i8"),
        ("key_pnl", "i8"), ("key_books", "i8"), ("key_lots", "i8"), ("session_pnl", "i8"),
        # rows of the opening state that are behind
        ("opened_books", "i8"), ("opened_lots", "i8"),
        # how long each array has to be for the kernel to go on
        ("want_books", "i8"), ("want_lots", "i8"),
        ("want_told_pnl", "i8"), ("want_told_books", "i8"), ("want_told_lots", "i8"),
        (IMPRINT, "?"),  # so that a kept kernel is not used after its sources have changed
    ],
    align=True,
)  # fmt: skip
BOOK = np.dtype(
    [
        ("scope", "i8"), ("bot", "i8"), ("side", "i8"),
        ("is_fifo", "?"), ("is_inverse", "?"), ("is_touched", "?"),
        ("pnl", "i8"),  # the row of this session's sums, or -1
        ("qty", "i8"), ("cost", *_LIMBS), ("fees", *_LIMBS), ("funding", *_LIMBS),
        # FIFO: the lots that are open, the oldest first, and what is gone of the oldest
        ("first_lot", "i8"), ("lots", "i8"), ("oldest", "i8"), ("newest", "i8"),
        ("consumed", "i8"), ("value_gone", *_LIMBS), ("fee_gone", *_LIMBS),
        # before the session touched it; `opened` is the first lot opened since, or -1
        ("opened", "i8"), ("before_first_lot", "i8"), ("before_lots", "i8"),
        ("before_qty", "i8"), ("before_consumed", "i8"),
        ("before_cost", *_LIMBS), ("before_fees", *_LIMBS),
        ("share", *_LIMBS),  # its part of the cash entry that is being booked
    ],
    align=True,
)  # fmt: skip
LOT = np.dtype([("qty", "i8"), ("next", "i8"), ("value", *_LIMBS), ("fee", *_LIMBS)], align=True)


def _rows_of(schema: pa.Schema, *more: tuple[str, str]) -> np.dtype[np.void]:
    """Return the row of a schema as the kernel reads and writes it."""
    words = {MONEY: _LIMBS, pa.bool_(): ("?",), pa.date32(): ("i4",)}
    fields = [
        (column.name, *words.get(column.type, (f"i{column.type.bit_width // 8}",)))
        for column in schema
    ]
    return np.dtype([*fields, *more], align=True)


PNL_ROW = _rows_of(REALISED, ("is_known", "?"))
BOOK_ROW = _rows_of(BOOKS, ("is_rated", "?"))
LOT_ROW = _rows_of(LOTS)


class Given(NamedTuple):
    """The columns of a batch. Decimals have a row of two limbs each."""

    key: Any
    kind: Any
    session_date: Any
    at: Any
    seq: Any
    bot: Any
    side: Any
    qty: Any
    price: Any
    multiplier: Any
    is_inverse: Any
    amount: Any
    fee_in: Any
    rate: Any
    is_incomplete: Any
    """Quantity, price or multiplier is null."""
    is_rated: Any


class Held(NamedTuple):
    """What the kernel holds between two events: of one instrument at a time, and what is told."""

    state: Any
    books: Any
    lots: Any
    told_pnl: Any
    told_books: Any
    told_lots: Any
    methods: Any
    opening_books: Any
    opening_lots: Any


@inlined
def load(money: Any) -> Money:
    """Return the money that stands in a row."""
    return money[0], money[1]


@inlined
def store(money: Any, amount: Money) -> None:
    """Write money into a row."""
    money[0] = amount[0]
    money[1] = amount[1]


@inlined
def add_to(state: Any, total: Any, amount: Money) -> None:
    """Add to a sum; `amount` may be too much for it, and then the instrument is handed over."""
    after = plus(load(total), amount)
    state.is_failed |= is_too_much(amount) or is_too_much(after)
    store(total, after)
