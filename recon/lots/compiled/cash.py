"""A cash entry: funding, a fee, interest; split over the books that are open."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.lots.compiled.books import pnl_of, touch
from recon.lots.compiled.int128 import Money, is_too_much, minus, plus, share, signed
from recon.lots.compiled.jit import called, inlined
from recon.lots.compiled.schemas import ACCOUNT, BOT, FEE, FUNDING, NOBODY
from recon.lots.compiled.state import MOST_QTY, Given, Held, add_to, load, store
from recon.lots.compiled.values import at_rate, rate_parts


@called
def book_cash(held: Held, given: Given, row: int) -> None:
    """Book a cash entry: funding is carried by the open books, by what they hold; the rest is not.

    It counts for the owners of the open books; where there are none, for the instrument's.
    """
    state = held.state[0]
    is_known = given.is_rated[row]
    part, whole = rate_parts(state, load(given.rate[row]), is_known)
    amount = at_rate(state, load(given.amount[row]), part, whole)
    state.is_failed |= is_too_much(amount)
    if state.is_failed:
        return
    kind = given.kind[row]
    is_open = _split(held, BOT, amount)
    if is_open:
        for book in held.books[: state.books]:
            if book.scope == BOT and book.qty:
                pnl = held.told_pnl[pnl_of(held, BOT, book.bot)]
                _count(state, pnl, kind, load(book.share), is_known, is_open)
                _carry(state, book, kind)
    else:
        pnl = held.told_pnl[pnl_of(held, BOT, given.bot[row])]
        _count(state, pnl, kind, amount, is_known, is_open)
    is_open = _split(held, ACCOUNT, amount)
    pnl = held.told_pnl[pnl_of(held, ACCOUNT, NOBODY)]
    _count(state, pnl, kind, amount, is_known, is_open)
    if is_open:
        for book in held.books[: state.books]:
            if book.scope == ACCOUNT and book.qty:
                _carry(state, book, kind)


@inlined
def _carry(state: Any, book: Any, kind: int) -> None:
    if kind == FUNDING:
        if not book.is_touched:
            touch(book)
        add_to(state, book.funding, load(book.share))


@inlined
def _count(
    state: Any,
    pnl: Any,
    kind: int,
    amount: Money,
    is_known: bool,
    is_open: bool,
) -> None:
    """Add a cash entry, or a part of it, to its owner's session."""
    pnl.is_known &= is_known
    if kind == FUNDING and is_open:
        add_to(state, pnl.open_costs, amount)
    elif kind == FUNDING:
        add_to(state, pnl.funding, amount)
    elif kind == FEE:
        add_to(state, pnl.fees, amount)
    else:
        add_to(state, pnl.other, amount)


@called
def _split(held: Held, scope: int, amount: Money) -> bool:
    """`lots.split` over a scope's open books, into `share`; return whether there are any."""
    state = held.state[0]
    books = held.books[: state.books]
    whole, sizes, most, largest = 0, 0, 0, -1
    for number in range(len(books)):
        if books[number].scope == scope and books[number].qty:
            size = abs(books[number].qty)
            whole, sizes = whole + books[number].qty, sizes + size
            if size > most:
                most, largest = size, number
            state.is_failed |= sizes >= MOST_QTY
    if largest < 0 or state.is_failed:
        return largest >= 0
    rest = amount
    for book in books:
        if book.scope == scope and book.qty:
            is_against = whole != 0 and (book.qty > 0) != (whole > 0)
            parts = abs(whole) if whole else sizes
            part, is_whole = share(amount, np.uint64(abs(book.qty)), np.uint64(parts))
            part = signed(part, is_against)
            store(book.share, part)
            rest = minus(rest, part)
            state.is_failed |= not is_whole or is_too_much(part) or is_too_much(rest)
    store(books[largest].share, plus(load(books[largest].share), rest))
    return True
