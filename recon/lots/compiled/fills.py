"""A fill: what it closes of a book, at what gain, and what it opens."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.lots.compiled.books import append_lot, book_of, oldest_taken, pnl_of, touch
from recon.lots.compiled.int128 import (
    NOUGHT,
    Money,
    is_nought,
    is_too_much,
    minus,
    plus,
    share,
    signed,
)
from recon.lots.compiled.jit import inlined
from recon.lots.compiled.schemas import BASE, BOT, IN_ACCOUNT, NOBODY, UNKNOWN
from recon.lots.compiled.state import MOST_QTY, Given, Held, add_to, load, store
from recon.lots.compiled.values import (
    at_rate,
    rate_parts,
    scaled,
    set_multiplier,
    stripped_price,
    units_of,
    value_of,
)


@inlined
def book_fill(held: Held, given: Given, row: int) -> None:
    """Book a fill on its owner's book, and on the account's."""
    state = held.state[0]
    is_rated = given.is_rated[row]
    rate, multiplier = load(given.rate[row]), load(given.multiplier[row])
    if given.is_incomplete[row] or not is_rated or given.fee_in[row] == UNKNOWN:
        state.is_failed = True
        return
    state.is_inverse, state.is_rated = given.is_inverse[row], is_rated
    store(state.rate, rate)
    if multiplier[0] != state.multiplier[0] or multiplier[1] != state.multiplier[1]:
        set_multiplier(state, multiplier)
    price, price_digits = stripped_price(state, load(given.price[row]))
    fee = load(given.amount[row])
    if given.fee_in[row] == BASE:
        # What the fee took was never ours: the position grows by what is left, at the same price.
        scaled(held, fee)  # may be finer than any quantity before it
        qty = scaled(held, load(given.qty[row]))
        taken = scaled(held, fee)
        fee = signed(value_of(state, abs(taken), price, price_digits), taken < 0)
        qty += taken
    else:
        qty = scaled(held, load(given.qty[row]))
    value = value_of(state, abs(qty), price, price_digits)
    part, whole = rate_parts(state, rate, is_rated)
    if given.fee_in[row] != IN_ACCOUNT:
        fee = at_rate(state, fee, part, whole)
    state.is_failed |= is_too_much(fee)
    if qty == 0 or abs(qty) >= MOST_QTY or state.is_failed:
        state.is_failed = True
        return
    side = given.side[row]
    for scope in range(2):
        bot = given.bot[row] if scope == BOT else NOBODY
        number = book_of(held, scope, bot, side)
        book = held.books[number]
        if not book.is_touched:
            touch(book)
        if book.pnl < 0:
            book.pnl = pnl_of(held, scope, bot)
        pnl = held.told_pnl[book.pnl]
        pnl.fills += 1
        closed, gross, fees, funding = _fill_book(held, book, qty, value, fee)
        if closed:
            add_to(state, pnl.closed_qty, units_of(state, closed))
            add_to(state, pnl.gross, at_rate(state, gross, part, whole))
            add_to(state, pnl.fees, fees)
            add_to(state, pnl.funding, funding)
            fees = plus(fees, funding)
        add_to(state, pnl.open_costs, minus(fee, fees))


@inlined
def _fill_book(
    held: Held, book: Any, qty: int, value: Money, fee: Money
) -> tuple[int, Money, Money, Money]:
    """`lots.Book.fill`: return the quantity closed, gross, fees and funding."""
    state = held.state[0]
    size, before = abs(qty), abs(book.qty)
    is_long = book.qty > 0
    is_reducing = before != 0 and is_long != (qty > 0)
    closed = min(size, before) if is_reducing else 0
    gross = fees = funding = NOUGHT
    if is_reducing:
        closing_value, closing_fee = value, fee
        if closed < size:
            closing_value, _ = share(value, np.uint64(closed), np.uint64(size))
            closing_fee, _ = share(fee, np.uint64(closed), np.uint64(size))
        funding = load(book.funding)
        if closed < before and not is_nought(funding):
            funding, _ = share(funding, np.uint64(closed), np.uint64(before))
        store(book.funding, minus(load(book.funding), funding))
        if closed == before and not book.is_fifo:
            entry, opening_fee = load(book.cost), load(book.fees)
        elif book.is_fifo:
            entry, opening_fee = oldest_taken(held, book, closed)
        else:
            entry, _ = share(load(book.cost), np.uint64(closed), np.uint64(before))
            opening_fee, _ = share(load(book.fees), np.uint64(closed), np.uint64(before))
        store(book.cost, minus(load(book.cost), entry))
        store(book.fees, minus(load(book.fees), opening_fee))
        gross = minus(closing_value, entry)
        gross = signed(gross, is_long == book.is_inverse)
        fees = plus(closing_fee, opening_fee)
        value, fee = minus(value, closing_value), minus(fee, closing_fee)
    book.qty += qty
    state.is_failed |= abs(book.qty) >= MOST_QTY
    if closed < size:
        if book.is_fifo:
            append_lot(held, book, size - closed, value, fee)
        add_to(state, book.cost, value)
        add_to(state, book.fees, fee)
    return closed, gross, fees, funding
