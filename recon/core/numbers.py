"""Exact numbers: conversions between Decimal, units and text.

Money and quantities are stored in units of 10^-18. Only `rounded`, `percentage` and `quotient`
round. All other functions raise if a result would lose digits.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation

PLACES = 18
SCALE = 1_000_000_000_000_000_000
EXACT = Context(prec=120, traps=[Inexact, InvalidOperation, DivisionByZero])
"""The context for sums and products of money: a lost digit raises `decimal.Inexact`.

The operators (+, abs, unary minus) silently round to 28 digits. So use this context for money, or
`copy_abs` and `copy_negate`.
"""

_ROUNDING = Context(prec=120, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero])


def to_units(value: Decimal, scale: int = SCALE) -> int:
    """Return `value` as a whole number of units of 1/scale. Raises ValueError for a fraction."""
    numerator, denominator = value.as_integer_ratio()
    units, rest = divmod(numerator * scale, denominator)
    if rest:
        raise ValueError(f"{value} has more than {len(str(scale)) - 1} decimal places")
    return units


def from_units(units: int, places: int = PLACES) -> Decimal:
    """Return the Decimal that is `units` times 10^-places, exactly."""
    return EXACT.scaleb(Decimal(units), -places)


def text(value: Decimal) -> str:
    """Return `value` as plain decimal text with at least two places; zero as "0"."""
    if not value:
        return "0"
    plain = f"{value:f}"
    whole, _, fraction = plain.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def rounded(value: Decimal, places: int = 2) -> Decimal:
    """Return `value` rounded to `places` decimal places, half to even, for people to read."""
    return value.quantize(Decimal(1).scaleb(-places), context=_ROUNDING)


def percentage(part: Decimal, whole: Decimal) -> Decimal | None:
    """Return 100 · |part| / |whole| to two places; None if `whole` is 0."""
    if not whole:
        return None
    share = _ROUNDING.divide(_ROUNDING.scaleb(part.copy_abs(), 2), whole.copy_abs())
    return rounded(share)


def quotient(part: Decimal, whole: Decimal) -> Decimal:
    """Return part / whole to 18 decimal places, half to even."""
    return rounded(_ROUNDING.divide(part, whole), PLACES)
