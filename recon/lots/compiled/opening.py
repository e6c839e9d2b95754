"""An instrument's books made again from how they were left."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.lots.compiled.books import append_lot, new_book
from recon.lots.compiled.int128 import is_negative, is_too_much, minus, share
from recon.lots.compiled.jit import called, inlined
from recon.lots.compiled.state import NEVER, Held, add_to, load, store
from recon.lots.compiled.values import scaled, set_multiplier


@called
def restore(held: Held, books: int, lots: int) -> None:
    """Make the books again from the opening rows up to `books` and `lots`, if they make sense."""
    state = held.state[0]
    latest = np.int64(NEVER)
    for row in held.opening_books[state.opened_books : books]:
        number = new_book(held, row.scope, row.bot, row.side)
        book = held.books[number]
        book.is_inverse = row.is_inverse
        book.first_lot = row.first_lot
        book.qty = scaled(held, load(row.qty))
        store(book.funding, load(row.funding))
        state.is_failed |= row.book != number or is_too_much(load(row.funding))
        state.is_failed |= not row.is_valued
        if row.session_date > latest:
            latest = np.int64(row.session_date)
            state.is_inverse, state.is_rated = row.is_inverse, row.is_rated
            set_multiplier(state, load(row.multiplier))
            store(state.rate, load(row.rate))
    for row in held.opening_lots[state.opened_lots : lots]:
        if not 0 <= row.book < state.books:
            state.is_failed = True
            return
        _restore_lot(held, held.books[row.book], row)
    for book in held.books[: state.books]:
        if book.is_fifo:
            number, left = book.oldest, -book.consumed
            while number >= 0:
                left += held.lots[number].qty
                number = held.lots[number].next
        else:
            left = book.before_qty
        state.is_failed |= left != abs(book.qty)


@inlined
def _restore_lot(held: Held, book: Any, row: Any) -> None:
    """Append an open lot. Only the first of FIFO's may be consumed, of the average's none."""
    state = held.state[0]
    # The quantity first: either may be finer than all before, and changes what is there already.
    qty = scaled(held, load(row.qty))
    consumed = scaled(held, load(row.consumed))
    qty = scaled(held, load(row.qty))
    value, fee = load(row.value), load(row.fee)
    is_wrong = qty <= 0 or consumed < 0 or consumed >= qty or is_negative(value)
    is_wrong |= is_too_much(value) or is_too_much(fee)
    is_wrong |= (book.lots > 0 and (consumed > 0 or not book.is_fifo)) or (
        not book.is_fifo and (consumed > 0 or book.first_lot != 0)
    )
    is_wrong |= row.lot != book.first_lot + book.lots
    if is_wrong or state.is_failed:
        state.is_failed = True
        return
    if book.is_fifo:
        append_lot(held, book, qty, value, fee)
        if consumed:
            book.consumed = consumed
            gone, _ = share(value, np.uint64(consumed), np.uint64(qty))
            fee_gone, _ = share(fee, np.uint64(consumed), np.uint64(qty))
            store(book.value_gone, gone)
            store(book.fee_gone, fee_gone)
            value, fee = minus(value, gone), minus(fee, fee_gone)
    else:
        book.lots = 1
        book.before_qty = qty
    add_to(state, book.cost, value)
    add_to(state, book.fees, fee)
