"""Quantities in an instrument's own unit, what they are worth at a price, and money at a rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon.core.numbers import PLACES, SCALE
from recon.lots.compiled.int128 import (
    MOST_DIGITS,
    Money,
    is_negative,
    is_nought,
    is_too_much,
    power,
    product,
    quotient,
    share,
    signed,
    stripped,
    times,
)
from recon.lots.compiled.jit import called, inlined
from recon.lots.compiled.state import MOST_QTY, Held, store

_NOUGHT_LIMB, _ONE_LIMB, _SCALE_LIMB = np.uint64(0), np.uint64(1), np.uint64(SCALE)


@inlined
def value_of(state: Any, qty: int, price: np.uint64, price_digits: int) -> Money:
    """`realise._value` of an unsigned quantity, in units of 10^-18 of the settlement currency."""
    digits = state.qty_digits + state.factor_digits
    if state.is_inverse:
        low, middle, high = times((np.uint64(qty), np.uint64(0)), state.factor)
        value = _shifted(state, (low, middle), digits - price_digits, price)
    else:
        # In units of 10^-36 of the one multiplied by the other, hence 36 digits too many.
        low, middle, high = times(product(np.uint64(qty), price), state.factor)
        value = _shifted(state, (low, middle), digits + price_digits - 2 * PLACES, _ONE_LIMB)
    # A size that passes 2^127 would read as a negative one.
    state.is_failed |= high != np.uint64(0) or is_negative(value) or is_too_much(value)
    return value


@inlined
def _shifted(state: Any, size: Money, digits: int, divisor: np.uint64) -> Money:
    """Return trunc(size · 10^digits / divisor); `digits` may be negative."""
    while digits > 0:
        step = min(digits, MOST_DIGITS)
        low, middle, high = times(size, power(step))
        state.is_failed |= high != np.uint64(0)
        size, digits = (low, middle), digits - step
    if digits < 0:
        low, middle, high = times((divisor, np.uint64(0)), power(min(-digits, MOST_DIGITS)))
        state.is_failed |= middle != np.uint64(0) or -digits > MOST_DIGITS
        divisor = max(low, _ONE_LIMB)
    if divisor == _ONE_LIMB:
        return size
    size, rest = quotient(size, divisor)
    if not state.is_inverse and rest:
        state.is_failed = True  # it needs more than 18 decimal places
    return size


@inlined
def stripped_price(state: Any, price: Money) -> tuple[np.uint64, int]:
    """Return a price without some of its last zeros, and how many; the last price's, as a rule."""
    limb, is_whole = stripped(price, state.price_digits)
    if not is_whole:
        state.price_digits = _zeros(price)
        limb, is_whole = stripped(price, state.price_digits)
    state.is_failed |= not is_whole or (state.is_inverse and limb == np.uint64(0))
    return limb, state.price_digits


@called
def _zeros(size: Money) -> int:
    """Return the most digits, up to 18, that can be stripped of `size`."""
    digits = PLACES
    while digits and not stripped(size, digits)[1]:
        digits -= 1
    return digits


@called
def set_multiplier(state: Any, multiplier: Money) -> None:
    """Take a multiplier as the instrument's, its last zeros stripped."""
    store(state.multiplier, multiplier)
    state.factor_digits = _zeros(multiplier)
    state.factor, is_whole = stripped(multiplier, state.factor_digits)
    state.is_failed |= not is_whole or is_nought(multiplier)


@inlined
def scaled(held: Held, units: Money) -> int:
    """Return a quantity in the instrument's own unit, which becomes finer where it has to."""
    state = held.state[0]
    is_below = is_negative(units)
    limb, is_whole = stripped(signed(units, is_below), state.qty_digits)
    if not is_whole:
        limb = _refined(held, signed(units, is_below))
    return int(-np.int64(limb) if is_below else np.int64(limb))


@called
def _refined(held: Held, size: Money) -> np.uint64:
    """Make the instrument's unit so fine that `size` is whole in it, and return it."""
    state = held.state[0]
    digits = state.qty_digits
    limb, is_whole = stripped(size, digits)
    while digits and not is_whole:
        digits -= 1
        limb, is_whole = stripped(size, digits)
    finer = power(state.qty_digits - digits)
    state.qty_digits = digits
    state.is_failed |= not is_whole
    for book in held.books[: state.books]:
        book.qty = _multiplied(state, book.qty, finer)
        book.consumed = _multiplied(state, book.consumed, finer)
        book.before_qty = _multiplied(state, book.before_qty, finer)
        book.before_consumed = _multiplied(state, book.before_consumed, finer)
        number = book.oldest
        while number >= 0:
            held.lots[number].qty = _multiplied(state, held.lots[number].qty, finer)
            number = held.lots[number].next
    return limb


@inlined
def _multiplied(state: Any, qty: int, factor: np.uint64) -> int:
    low, high = product(np.uint64(abs(qty)), factor)
    state.is_failed |= high != np.uint64(0) or low >= np.uint64(MOST_QTY)
    return int(-np.int64(low) if qty < 0 else np.int64(low))


@inlined
def units_of(state: Any, qty: int) -> Money:
    """Return a quantity in units of 10^-18."""
    return signed(product(np.uint64(abs(qty)), power(state.qty_digits)), qty < 0)


@inlined
def rate_parts(state: Any, rate: Money, is_rated: bool) -> Money:
    """Return part and whole of the fraction that a rate is; 1 where there is none."""
    if not is_rated or (rate[0] == _SCALE_LIMB and rate[1] == _NOUGHT_LIMB):
        return _ONE_LIMB, _ONE_LIMB
    part, is_whole = stripped(rate, state.rate_digits)
    if not is_whole:
        state.rate_digits = _zeros(rate)
        part, is_whole = stripped(rate, state.rate_digits)
        # Of a rate without zeros the low limb is left: all of it, if there is nothing above.
        state.is_failed |= not is_whole and rate[1] != _NOUGHT_LIMB
    return part, power(PLACES - state.rate_digits)


@inlined
def at_rate(state: Any, amount: Money, part: np.uint64, whole: np.uint64) -> Money:
    """`realise._in_account_currency`: an amount at the rate of part / whole."""
    if part == whole:
        return amount
    at, is_fitting = share(amount, part, whole)
    state.is_failed |= not is_fitting
    return at
