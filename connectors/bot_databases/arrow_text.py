"""Arrow's numbers as text that keeps each digit: whole columns at once, never value by value.

A number that is text at its source, in CSV, JSON or an answer from PostgreSQL, keeps its digits. A
binary float, in SQLite or Parquet, has no digits of its own: only `floats_text` chooses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

_SCIENTIFIC = r"^(?P<sign>-?)(?P<lead>[0-9])(?:\.(?P<rest>[0-9]+))?e\+?(?P<exponent>-?[0-9]+)$"
MAX_DIGITS = 38
"""The digits of DuckDB's widest decimal."""
_WHOLE_FROM = 1e16
"""From here on, a float has no point in its text: 10000000000000000, but 1000000000000000.0."""


@dataclass(slots=True)
class Digits:
    """The most digits that the numbers of a column have, before and after their points.

    Insignificant zeros (`007.500`) are not counted.
    """

    whole: int = 0
    places: int = 0

    def count_whole(self, plain: str) -> None:
        """Count the digits of one number before its point."""
        whole, _, _ = plain.lstrip("-").partition(".")
        self.whole = max(self.whole, len(whole.lstrip("0")))

    def duckdb_type(self) -> str:
        """Return the DuckDB type that holds such numbers exactly: a decimal, else text."""
        fits = self.whole + self.places <= MAX_DIGITS
        return f"DECIMAL({MAX_DIGITS},{self.places})" if fits else "VARCHAR"


def integers_text(integers: pa.Array, digits: Digits) -> pa.Array:
    """Return integers as text (utf8), and count their digits."""
    extremes = pc.min_max(integers)
    for extreme in (extremes["min"].as_py(), extremes["max"].as_py()):
        if extreme is not None:
            digits.count_whole(str(extreme))
    return integers.cast(pa.string())


def floats_text(floats: pa.Array, digits: Digits) -> pa.Array:
    """Return each finite float as the shortest decimal that identifies it.

    The text (utf8) is that of Python's `repr`, without an exponent. Its digits are counted.
    """
    text = floats.cast(pa.string())
    if pc.any(is_scientific := pc.match_substring(text, "e")).as_py():
        expanded = _expanded(text.filter(is_scientific))
        text = pc.replace_with_mask(text, pc.fill_null(is_scientific, fill_value=False), expanded)
    largest = pc.max(pc.abs(floats)).as_py()
    if largest is not None:
        digits.count_whole(f"{Decimal(repr(largest)):f}")
    point = pc.find_substring(text, ".")
    places = pc.subtract(pc.subtract(pc.binary_length(text), point), 1)
    longest = pc.max(places.filter(pc.greater_equal(point, 0))).as_py()
    digits.places = max(digits.places, longest or 0)
    is_bare = pc.and_(pc.less(point, 0), pc.less(pc.abs(floats), _WHOLE_FROM))
    if pc.any(is_bare).as_py():
        text = pc.binary_join_element_wise(text, pc.if_else(is_bare, ".0", ""), "")
    return text


def plain_numbers(text: pa.Array, digits: Digits) -> pa.Array:
    """Return the text of finite numbers without exponents. Their digits are counted."""
    text = pc.utf8_lower(text)
    if pc.any(is_scientific := pc.match_substring(text, "e")).as_py():
        expanded = _expanded(text.filter(is_scientific))
        text = pc.replace_with_mask(text, pc.fill_null(is_scientific, fill_value=False), expanded)
    unsigned = pc.utf8_ltrim(text, "-0")
    point = pc.find_substring(unsigned, ".")
    size = pc.binary_length(unsigned)
    whole = pc.if_else(pc.less(point, 0), size, point)
    places = pc.if_else(pc.less(point, 0), 0, pc.subtract(pc.subtract(size, point), 1))
    digits.whole = max(digits.whole, pc.max(whole).as_py() or 0)
    digits.places = max(digits.places, pc.max(places).as_py() or 0)
    return text


def _expanded(scientific: pa.Array) -> pa.Array:
    """Return `-1.5e-7` as `-0.00000015` and `1.5e+17` as `150000000000000000`."""
    parts = pc.extract_regex(scientific, pattern=_SCIENTIFIC)
    sign, lead, rest, exponent_text = parts.flatten()
    exponent = exponent_text.cast(pa.int64())
    digits = pc.binary_join_element_wise(lead, rest, "")
    zeros = pc.binary_repeat("0", pc.max_element_wise(pc.subtract(-1, exponent), 0))
    small = pc.binary_join_element_wise("0.", zeros, digits, "")
    missing = pc.subtract(exponent, pc.binary_length(rest))
    zeros = pc.binary_repeat("0", pc.max_element_wise(missing, 0))
    large = pc.binary_join_element_wise(digits, zeros, "")
    is_pointed = pc.and_(pc.greater_equal(exponent, 0), pc.less(missing, 0))
    for place in pc.unique(exponent.filter(is_pointed)).to_pylist():  # rarely any, at most sixteen
        whole = pc.utf8_slice_codeunits(digits, 0, place + 1)
        fraction = pc.utf8_slice_codeunits(digits, place + 1)
        pointed = pc.binary_join_element_wise(whole, fraction, ".")
        large = pc.if_else(pc.and_(is_pointed, pc.equal(exponent, place)), pointed, large)
    number = pc.if_else(pc.less(exponent, 0), small, large)
    return pc.binary_join_element_wise(sign, number, "")


def lenient_utf8(text: pa.Array) -> pa.Array:
    r"""Return bytes as text (utf8); a byte that is not UTF-8 becomes `\xff`."""
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        raw = text.view(pa.binary()).to_pylist()
        found = [one if one is None else lenient_text(one) for one in raw]
        return pa.array(found, pa.string())
    return text


def lenient_text(raw: bytes) -> str:
    r"""Return bytes as text; a byte that is not UTF-8 becomes `\xff`, and never stops the read."""
    return raw.decode("utf-8", "backslashreplace")
