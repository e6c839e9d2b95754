"""One event after the other, and what begins and ends with an instrument and a session."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.core.numbers import PLACES
from recon.lots.compiled.cash import book_cash
from recon.lots.compiled.closing import close_session, has_room_to_close, is_netting_alone
from recon.lots.compiled.fills import book_fill
from recon.lots.compiled.int128 import NOUGHT
from recon.lots.compiled.jit import called, compiled, inlined
from recon.lots.compiled.opening import restore
from recon.lots.compiled.schemas import FILL, OTHER_CASH
from recon.lots.compiled.state import NEVER, Given, Held, store

DONE, NO_ROOM, TOLD_MUCH, HANDED_OVER, DISORDER, DIFFERENT = range(6)
_MUCH_TOLD = 2**16
"""Rows after which what was told is taken: so few that their memory is used again and again."""


@compiled
def run(held: Held, given: Given, start: int, is_last: bool) -> tuple[int, int]:
    """Book a batch's events from row `start`; return how it ended, and the row to go on from.

    All that can stop it is looked at before an event changes anything, so that it can be asked
    again with more room.
    """
    state = held.state[0]
    for row in range(start, len(given.key)):
        status = DONE
        if given.key[row] != state.key:
            status = _turn(held, given.key[row])
        if status == DONE and not state.is_handed_over:
            status = _book_event(held, given, row)
        if status != DONE:
            return status, row + (status == HANDED_OVER)
    return _leave(held) if is_last else DONE, len(given.key)


@inlined
def _book_event(held: Held, given: Given, row: int) -> int:
    """Book an event; return how that ended."""
    state = held.state[0]
    session, at = np.int64(given.session_date[row]), given.at[row]
    if session < state.session or (session == state.session and at < state.at):
        return DISORDER
    if session == state.session and at == state.at and given.seq[row] <= state.seq:
        return _hand_over(state)
    if session != state.session:
        if not has_room_to_close(held):
            return NO_ROOM
        close_session(held)
        state.session = session
    if not _has_room_for_event(held):
        return NO_ROOM
    state.at, state.seq = at, given.seq[row]
    if given.kind[row] == FILL:
        book_fill(held, given, row)
    elif given.kind[row] <= OTHER_CASH:
        book_cash(held, given, row)
    else:
        state.is_failed = True
    return _hand_over(state) if state.is_failed else DONE


@called
def _turn(held: Held, key: int) -> int:
    """Go on to another instrument."""
    state = held.state[0]
    if key < state.key:
        return DISORDER
    status = _leave(held)
    if status == DONE and max(state.told_pnl, state.told_books, state.told_lots) > _MUCH_TOLD:
        status = TOLD_MUCH
    return status if status != DONE else _enter(held, key)


@called
def _leave(held: Held) -> int:
    """End an instrument: its last session is told, and its one owner is held against it."""
    state = held.state[0]
    if state.key < 0 or state.is_handed_over:
        return DONE
    if not has_room_to_close(held):
        return NO_ROOM
    close_session(held)
    return DIFFERENT if is_netting_alone(held) else DONE


@called
def _enter(held: Held, key: int) -> int:
    """Begin an instrument, with its books as they were left."""
    state, opening = held.state[0], held.opening_books
    while state.opened_books < len(opening) and opening[state.opened_books].key < key:
        state.opened_books += 1
    while (
        state.opened_lots < len(held.opening_lots)
        and held.opening_lots[state.opened_lots].key < key
    ):
        state.opened_lots += 1
    books, lots = state.opened_books, state.opened_lots
    while books < len(opening) and opening[books].key == key:
        books += 1
    while lots < len(held.opening_lots) and held.opening_lots[lots].key == key:
        lots += 1
    state.want_books, state.want_lots = books - state.opened_books, lots - state.opened_lots
    if state.want_books > len(held.books) or state.want_lots > len(held.lots):
        return NO_ROOM
    state.key, state.session, state.at = key, NEVER, 0
    state.is_handed_over = state.is_failed = state.is_inverse = False
    state.is_rated = False
    store(state.multiplier, NOUGHT)
    state.qty_digits = state.price_digits = state.rate_digits = PLACES
    state.books = state.lots = 0
    state.free_lot = -1
    state.key_pnl = state.session_pnl = state.told_pnl
    state.key_books, state.key_lots = state.told_books, state.told_lots
    restore(held, books, lots)
    return _hand_over(state) if state.is_failed else DONE


@inlined
def _hand_over(state: Any) -> int:
    """Take back what was told of the instrument; skip what else there is of it."""
    state.is_handed_over = True
    state.told_pnl, state.told_books = state.key_pnl, state.key_books
    state.told_lots = state.key_lots
    return HANDED_OVER


@inlined
def _has_room_for_event(held: Held) -> bool:
    """Return whether there is room for whatever an event may need, and ask for it."""
    state = held.state[0]
    state.want_books, state.want_lots = state.books + 2, state.lots + 2
    state.want_told_pnl = state.told_pnl + state.books + 2
    return bool(
        state.want_books <= len(held.books)
        and state.want_lots <= len(held.lots)
        and state.want_told_pnl <= len(held.told_pnl)
    )
