"""Money in compiled code: 128-bit integers in two 64-bit limbs, and the few operations lots need.

A `Money` is (low limb, high limb), two's complement: how Arrow and DuckDB keep a decimal(38, 18).
Nothing here is checked as it wraps. Who adds keeps every amount below 2^109 (`is_too_much`), so
that no sum of a few can reach 2^127, and looks at the sum before going on with it.

Exact and portable: the only wide instruction is 64 x 64 -> 128, which x86-64 and arm64 both have.
LLVM's 128-bit division would be a call into a library that is not there, so division is by limbs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import extending

from recon.lots.compiled.jit import called, inlined

Money = tuple[np.uint64, np.uint64]
Wide = tuple[np.uint64, np.uint64, np.uint64]

NOUGHT: Money = (np.uint64(0), np.uint64(0))
MOST_DIGITS = 19
"""10^19 is the largest power of ten in a limb."""

_types: Any = numba.types
_ZERO, _ONE, _HALF, _TOP = np.uint64(0), np.uint64(1), np.uint64(32), np.uint64(63)
_DIGIT = np.uint64(2**32 - 1)
_MUCH = np.uint64(2**45)
_POWERS = np.array([10**k for k in range(MOST_DIGITS + 1)], np.uint64)
_INVERSES = np.array([pow(5**k, -1, 2**64) for k in range(MOST_DIGITS + 1)], np.uint64)
"""5^k is odd, so that it has an inverse modulo 2^64."""


def _product(_context: Any, _a: Any, _b: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, factors: Any) -> Any:
        limb, wide = ir.IntType(64), ir.IntType(128)
        a, b = (builder.zext(factor, wide) for factor in factors)
        whole = builder.mul(a, b)
        high = builder.lshr(whole, ir.Constant(wide, 64))
        limbs = [builder.trunc(whole, limb), builder.trunc(high, limb)]
        return context.make_tuple(builder, signature.return_type, limbs)

    limb = _types.uint64
    return _types.UniTuple(limb, 2)(limb, limb), build


def _leading_zeros(_context: Any, _a: Any) -> Any:
    def build(_context: Any, builder: Any, _signature: Any, limbs: Any) -> Any:
        return builder.ctlz(limbs[0], ir.Constant(ir.IntType(1), 0))

    return _types.uint64(_types.uint64), build


_intrinsic: Any = extending.intrinsic
product: Callable[[np.uint64, np.uint64], Money] = _intrinsic(_product)
"""Return a · b of two unsigned limbs, all 128 bits of it."""
leading_zeros: Callable[[np.uint64], np.uint64] = _intrinsic(_leading_zeros)
"""Return how many of a limb's 64 bits are 0 above its first 1."""


@inlined
def plus(a: Money, b: Money) -> Money:
    """Return a + b."""
    low = a[0] + b[0]
    return low, a[1] + b[1] + np.uint64(low < a[0])


@inlined
def minus(a: Money, b: Money) -> Money:
    """Return a - b."""
    return a[0] - b[0], a[1] - b[1] - np.uint64(a[0] < b[0])


@inlined
def is_negative(a: Money) -> bool:
    """Return whether a < 0."""
    return bool(a[1] >> _TOP)


@inlined
def signed(size: Money, is_negative: bool) -> Money:
    """Return `size`, or -`size`."""
    return minus(NOUGHT, size) if is_negative else size


@inlined
def is_nought(a: Money) -> bool:
    """Return whether a = 0."""
    return bool((a[0] | a[1]) == _ZERO)


@inlined
def is_too_much(a: Money) -> bool:
    """Return whether a lies outside [-2^109, 2^109): less than what `recon.lots.realise` shows."""
    return bool(a[1] + _MUCH >= _MUCH + _MUCH)


@inlined
def power(exponent: int) -> np.uint64:
    """Return 10^exponent, of 0 to 19."""
    limb: np.uint64 = _POWERS[exponent]
    return limb


@inlined
def times(size: Money, factor: np.uint64) -> Wide:
    """Return size · factor, both unsigned, in three limbs."""
    low, carry = product(size[0], factor)
    middle, high = product(size[1], factor)
    middle = middle + carry
    return low, middle, high + np.uint64(middle < carry)


@inlined
def divided(high: np.uint64, low: np.uint64, divisor: np.uint64) -> Money:
    """Return quotient and remainder of (high · 2^64 + low) / divisor; high < divisor.

    Long division in 32-bit digits (Knuth, The Art of Computer Programming 2, 4.3.1, algorithm D).
    """
    if high == _ZERO:
        return low // divisor, low % divisor
    if divisor <= _DIGIT:  # then no digit needs a guess: high < 2^32, and so is each remainder
        upper = (high << _HALF) | (low >> _HALF)
        lower = ((upper % divisor) << _HALF) | (low & _DIGIT)
        return ((upper // divisor) << _HALF) | (lower // divisor), lower % divisor
    # With the divisor's first bit set a digit's guess, made from its upper half, is 2 too large at
    # most. (low >> 1) >> (63 - shift) is low >> (64 - shift) with a shift of 0 allowed.
    shift = leading_zeros(divisor)
    divisor = divisor << shift
    high = (high << shift) | ((low >> _ONE) >> (_TOP - shift))
    low = low << shift
    first, high = _digit(high, low >> _HALF, divisor)
    second, high = _digit(high, low & _DIGIT, divisor)
    return (first << _HALF) | second, high >> shift


@inlined
def _digit(high: np.uint64, next_digit: np.uint64, divisor: np.uint64) -> Money:
    """Return digit and remainder of (high · 2^32 + next_digit) / divisor, its first bit set."""
    upper, lower = divisor >> _HALF, divisor & _DIGIT
    digit = high // upper
    rest = high - digit * upper
    while digit > _DIGIT or digit * lower > ((rest << _HALF) | next_digit):
        digit -= _ONE
        rest += upper
        if rest > _DIGIT:
            break
    # The remainder is below 2^64, so that what wraps on the way to it does not matter.
    return digit, ((high << _HALF) | next_digit) - digit * divisor


@called
def share(amount: Money, part: np.uint64, whole: np.uint64) -> tuple[Money, bool]:
    """Return trunc(amount · part / whole), towards zero for either sign, and whether it fits."""
    is_below = is_negative(amount)
    low, middle, high = times(signed(amount, is_below), part)
    if high >= whole:
        return NOUGHT, False
    upper, rest = _ZERO, middle
    if high != _ZERO or middle >= whole:
        upper, rest = divided(high, middle, whole)
    lower, _ = divided(rest, low, whole)
    return signed((lower, upper), is_below), not upper >> _TOP


@inlined
def quotient(size: Money, divisor: np.uint64) -> tuple[Money, np.uint64]:
    """Return what size / divisor is, unsigned, and what is left over."""
    upper, rest = size[1] // divisor, size[1] % divisor
    lower, rest = divided(rest, size[0], divisor)
    return (lower, upper), rest


@inlined
def stripped(size: Money, digits: int) -> tuple[np.uint64, bool]:
    """Return size / 10^digits, and whether that is whole and below 2^62.

    Without dividing: where size = q · 10^k and q < 2^64, size / 2^k modulo 2^64 is q · 5^k, and
    times the inverse of 5^k that is q. Whatever comes out is q if, and only if, q · 10^k is `size`.
    """
    k = np.uint64(digits)
    # (high << 1) << (63 - k) is high << (64 - k) with a k of 0 allowed.
    odd = (size[0] >> k) | ((size[1] << _ONE) << (_TOP - k))
    limb = odd * _INVERSES[digits]
    low, high = product(limb, _POWERS[digits])
    return limb, low == size[0] and high == size[1] and not limb >> np.uint64(62)
