"""An instrument's books, FIFO's lots in them, and the sums of their owners' sessions."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.lots.compiled.int128 import NOUGHT, Money, is_too_much, minus, plus, share
from recon.lots.compiled.jit import called, inlined
from recon.lots.compiled.schemas import FIFO
from recon.lots.compiled.state import Held, load, store


@inlined
def book_of(held: Held, scope: int, bot: int, side: int) -> int:
    """Return which book is an owner's, on one side; a new one where there is none."""
    books = held.books
    for number in range(held.state[0].books):
        book = books[number]
        if book.bot == bot and book.side == side and book.scope == scope:
            return number
    return new_book(held, scope, bot, side)


@called
def new_book(held: Held, scope: int, bot: int, side: int) -> int:
    """Take the next book, empty, for an owner; there is room for it."""
    state = held.state[0]
    number = int(state.books)
    state.books += 1
    book = held.books[number]
    book.scope, book.bot, book.side = scope, bot, side
    book.is_fifo = held.methods[state.key, scope] == FIFO
    book.is_inverse = state.is_inverse
    book.is_touched = False
    book.pnl = book.oldest = book.newest = book.opened = -1
    book.qty = book.first_lot = book.lots = book.consumed = 0
    book.before_qty = book.before_consumed = book.before_lots = book.before_first_lot = 0
    for money in (book.cost, book.fees, book.funding, book.value_gone, book.fee_gone):
        store(money, NOUGHT)
    return number


@inlined
def pnl_of(held: Held, scope: int, bot: int) -> int:
    """Return the row of an owner's sums in this session; a new one where there is none."""
    state, rows = held.state[0], held.told_pnl
    for number in range(state.session_pnl, state.told_pnl):
        if rows[number].bot == bot and rows[number].scope == scope:
            return number
    row = rows[state.told_pnl]
    state.told_pnl += 1
    row.key, row.scope, row.bot, row.session_date = state.key, scope, bot, state.session
    row.fills, row.is_known = 0, True
    for money in (row.closed_qty, row.gross, row.fees, row.funding, row.other, row.open_costs):
        store(money, NOUGHT)
    return int(state.told_pnl - 1)


@inlined
def touch(book: Any) -> None:
    """Keep what the book was before the session."""
    book.is_touched, book.opened = True, -1
    book.before_first_lot, book.before_lots = book.first_lot, book.lots
    book.before_qty, book.before_consumed = abs(book.qty), book.consumed
    store(book.before_cost, load(book.cost))
    store(book.before_fees, load(book.fees))


@inlined
def append_lot(held: Held, book: Any, qty: int, value: Money, fee: Money) -> None:
    """Open a lot, as the newest of its book."""
    state = held.state[0]
    number = state.free_lot
    if number < 0:
        number = state.lots
        state.lots += 1
    else:
        state.free_lot = held.lots[number].next
    lot = held.lots[number]
    lot.qty, lot.next = qty, -1
    store(lot.value, value)
    store(lot.fee, fee)
    if book.lots:
        held.lots[book.newest].next = number
    else:
        book.oldest = number
    book.newest = number
    book.lots += 1
    if book.opened < 0:
        book.opened = number


@inlined
def oldest_taken(held: Held, book: Any, qty: int) -> tuple[Money, Money]:
    """Take `qty` out of the oldest lots; return the value and the fees released with it.

    What a lot has released so far is kept, so that the last of it needs no division, and a part of
    it one for each column.
    """
    state = held.state[0]
    value = fee = NOUGHT
    while qty:
        lot = held.lots[book.oldest]
        value = minus(value, load(book.value_gone))
        fee = minus(fee, load(book.fee_gone))
        left = lot.qty - book.consumed
        if qty < left:
            book.consumed += qty
            qty = 0
            value_gone, _ = share(load(lot.value), np.uint64(book.consumed), np.uint64(lot.qty))
            fee_gone, _ = share(load(lot.fee), np.uint64(book.consumed), np.uint64(lot.qty))
            value, fee = plus(value, value_gone), plus(fee, fee_gone)
            store(book.value_gone, value_gone)
            store(book.fee_gone, fee_gone)
            state.is_failed |= is_too_much(fee)
            continue
        qty -= left
        value, fee = plus(value, load(lot.value)), plus(fee, load(lot.fee))
        state.is_failed |= is_too_much(fee)
        _drop_oldest(held, book)
    return value, fee


@inlined
def _drop_oldest(held: Held, book: Any) -> None:
    """Forget the oldest lot, which is used up."""
    state = held.state[0]
    number = book.oldest
    lot = held.lots[number]
    if book.opened == number:
        book.opened = lot.next
    book.oldest = lot.next
    lot.next, state.free_lot = state.free_lot, number
    book.first_lot += 1
    book.lots -= 1
    book.consumed = 0
    store(book.value_gone, NOUGHT)
    store(book.fee_gone, NOUGHT)
