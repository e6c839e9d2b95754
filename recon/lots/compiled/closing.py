"""The end of a session: what is told of the books and lots that it touched."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.lots.compiled.int128 import NOUGHT, Money, is_nought, minus
from recon.lots.compiled.jit import called, inlined
from recon.lots.compiled.schemas import ACCOUNT, BOT, NOBODY
from recon.lots.compiled.state import Held, load, store
from recon.lots.compiled.values import units_of


@called
def has_room_to_close(held: Held) -> bool:
    """Return whether there is room for what the end of a session tells, and ask for it."""
    state = held.state[0]
    state.want_told_books = state.told_books + state.books
    state.want_told_lots = state.told_lots
    for book in held.books[: state.books]:
        if book.is_touched:
            # FIFO's used up, its oldest, and its new; or the average's one
            used_up = min(book.first_lot - book.before_first_lot, book.before_lots)
            state.want_told_lots += used_up + 1 + _lots_opened(book)
    return bool(
        state.want_told_books <= len(held.told_books)
        and state.want_told_lots <= len(held.told_lots)
    )


@inlined
def _lots_opened(book: Any) -> int:
    """Return how many of the open lots are of this session."""
    first_new = book.before_first_lot + book.before_lots
    return int(min(book.lots, book.first_lot + book.lots - first_new))


@called
def close_session(held: Held) -> None:
    """`realise._closing`: tell the books that the session touched, and the lots it changed."""
    state = held.state[0]
    for number in range(state.books):
        book = held.books[number]
        book.pnl = -1
        if book.is_touched:
            book.is_touched = False
            _tell_book(held, number, book)
            if book.is_fifo:
                _tell_lots(held, number, book)
            else:
                _tell_average(held, number, book)
    state.session_pnl = state.told_pnl


@inlined
def _tell_book(held: Held, number: int, book: Any) -> None:
    state = held.state[0]
    row = held.told_books[state.told_books]
    state.told_books += 1
    row.key, row.book, row.session_date = state.key, number, state.session
    row.scope, row.bot, row.side = book.scope, book.bot, book.side
    store(row.qty, units_of(state, book.qty))
    store(row.cost, load(book.cost))
    store(row.funding, load(book.funding))
    row.first_lot = book.first_lot
    row.is_inverse, row.is_valued, row.is_rated = state.is_inverse, True, state.is_rated
    store(row.multiplier, load(state.multiplier))
    store(row.rate, load(state.rate))


@inlined
def _tell_average(held: Held, number: int, book: Any) -> None:
    """Tell the average's one lot, if it is another; it is what the book holds."""
    is_same = (
        abs(book.qty) == book.before_qty
        and is_nought(minus(load(book.cost), load(book.before_cost)))
        and is_nought(minus(load(book.fees), load(book.before_fees)))
    )
    if not is_same:
        _tell_lot(held, number, 0, abs(book.qty), load(book.cost), load(book.fees), 0)


@inlined
def _tell_lots(held: Held, number: int, book: Any) -> None:
    """Tell FIFO's lots: those used up that were there before, the oldest if less is left, the new.

    The lots between were not touched, and not looked at: a book may hold very many.
    """
    first_new = book.before_first_lot + book.before_lots
    for lot in range(book.before_first_lot, min(book.first_lot, first_new)):
        _tell_lot(held, number, lot, 0, NOUGHT, NOUGHT, 0)
    if not book.lots:
        return
    is_oldest_same = book.first_lot == book.before_first_lot
    consumed_before = book.before_consumed if is_oldest_same else 0
    if book.first_lot < first_new and book.consumed != consumed_before:
        oldest = held.lots[book.oldest]
        value, fee = load(oldest.value), load(oldest.fee)
        _tell_lot(held, number, book.first_lot, oldest.qty, value, fee, book.consumed)
    lot, slot = max(first_new, book.first_lot), book.opened
    while slot >= 0:
        new = held.lots[slot]
        consumed = book.consumed if slot == book.oldest else 0
        _tell_lot(held, number, lot, new.qty, load(new.value), load(new.fee), consumed)
        lot, slot = lot + 1, new.next


@inlined
def _tell_lot(
    held: Held, book: int, lot: int, qty: int, value: Money, fee: Money, consumed: int
) -> None:
    state = held.state[0]
    row = held.told_lots[state.told_lots]
    state.told_lots += 1
    row.key, row.book, row.lot, row.session_date = state.key, book, lot, state.session
    store(row.qty, units_of(state, qty))
    store(row.value, value)
    store(row.fee, fee)
    store(row.consumed, units_of(state, consumed))


@called
def is_netting_alone(held: Held) -> bool:
    """`realise._assert_no_netting_alone`: whether one owner's lots are not the account's own."""
    state = held.state[0]
    books = held.books[: state.books]
    if held.methods[state.key, BOT] != held.methods[state.key, ACCOUNT]:
        return False
    owners, owner = 0, np.int64(NOBODY)
    for book in books:
        if book.scope == BOT and (not owners or book.bot != owner):
            owners, owner = owners + 1, book.bot
    if owners != 1:
        return False
    for book in books:
        if book.scope == ACCOUNT:
            is_same = False
            for own in books:
                if own.scope == BOT and own.side == book.side:
                    is_same = _is_same(own, book)
            if not is_same:
                return True
    return False


@inlined
def _is_same(own: Any, book: Any) -> bool:
    return bool(
        own.qty == book.qty
        and is_nought(minus(load(own.cost), load(book.cost)))
        and is_nought(minus(load(own.fees), load(book.fees)))
    )
