"""`recon.toml` as TOML: read within limits, before anybody asks what its keys mean.

`parse` gives the values of any file that is TOML, also to those who need a part of it alone: the
ping, the pages of a night that failed. `assert_plain` holds them to what no key may have.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from recon.errors import ConfigError
from recon.outside_text import one_line, quoted_value
from recon.system.file_text import MIB, read_file_text

LONGEST_FILE = 4 * MIB
"""A configuration of ten thousand bots takes half of it."""
LONGEST_TEXT = 8192
DEEPEST = 32
"""Tables within tables; the deepest key of recon has five."""
LARGEST = 2**63
"""TOML's own limit of a whole number."""
MOST_DIGITS = 100
MOST_PLACES = 40
"""Of a number with a decimal point, before and after it: money has 15 and 18 at most."""

_LONG_NUMBER = re.compile(rf"[0-9][0-9_]{{{MOST_DIGITS},}}")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[0-9]\.[0-9]')
_KEY_OF_LINE = re.compile(r"\s*([\w.\"'-]{1,100})\s*=")
_NOT_PLAIN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters, line ends, marks that turn the direction of text, and halves of pairs."""


def parse(path: Path) -> dict[str, Any]:
    """Return the values of the file; numbers with a point are Decimal.

    Raises ConfigError for a file that cannot be read or is not TOML.
    """
    try:
        text = read_file_text(path, LONGEST_FILE).text
    except OSError as error:
        remedy = "let it be a file that this user can read, or name another with --config"
        if isinstance(error, FileNotFoundError):
            remedy = "name it with --config or RECON_CONFIG; `recon demo` writes one to learn from"
        raise ConfigError(
            f"{one_line(str(path))}: cannot read the configuration ({error.strerror}): {remedy}"
        ) from error
    try:
        _assert_readable(text)
        return tomllib.loads(text, parse_float=number_of)
    except RecursionError:
        said = f"nested deeper than {DEEPEST} levels: write each table under a header of its own"
    except ValueError as error:  # tomllib's own, and of what int() and date() refuse
        said = f"{error}{_brackets(str(error))}"
    raise ConfigError(f"{one_line(str(path))}: not valid TOML: {one_line(said)}") from None


def assert_plain(path: Path, values: Mapping[str, Any]) -> None:
    """Hold every value and key to the limits of one line of text, one number, and one nesting.

    Raises ConfigError, with a line for each value that is beyond them.
    """
    mistakes = [
        f"{one_line(str(path))}: {key}: {said}"
        for place, value in _walk(values)
        if (said := _mistake(place, value))
        for key in [name_of(values, place)]
    ]
    if mistakes:
        raise ConfigError("\n".join(mistakes[:MOST_MISTAKES]))


MOST_MISTAKES = 50
"""Lines of one error: of a file that is wrong throughout, the first are enough."""


def name_of(values: Any, place: tuple[int | str, ...], omitted: tuple[str, ...] = ()) -> str:
    """Name a place as a user would: `accounts.okx-demo.since`, by the entry's own id if it has one.

    Steps in `omitted` that are in no table are left out.
    """
    parts: list[str] = []
    for step in place:
        if isinstance(values, list) and isinstance(step, int):
            values = values[step] if step < len(values) else None
            name = values.get("id") if isinstance(values, dict) else None
            parts.append(name if isinstance(name, str) and name else str(step + 1))
        elif isinstance(values, dict) and step in values:
            values = values[step]
            parts.append(str(step))
        elif step not in omitted:
            values = None
            parts.append(str(step))
    return ".".join(one_line(part, 100) for part in parts[:DEEPEST])


def number_of(text: str) -> Decimal:
    """Return the number that a text writes: finite or not. Raises ValueError where it is none.

    Refused is one that has more digits, written out, than any figure needs.
    """
    try:
        found = Decimal(text)
        _, digits, exponent = found.as_tuple()
    except ArithmeticError:
        is_shown_whole = False
    else:
        is_shown_whole = not isinstance(exponent, int) or (
            len(digits) + exponent <= MOST_PLACES and exponent >= -MOST_PLACES
        )
    if not is_shown_whole:
        raise ValueError(f"{one_line(text, 60)} is no number, or has too many digits: correct it")
    return found


def _assert_readable(text: str) -> None:
    """Raise ValueError for what tomllib would take for ever over, or refuse without a line."""
    for number, line in enumerate(text.split("\n"), 1):
        if _LONG_NUMBER.search(line) and _LONG_NUMBER.search(_bare(line)):
            raise ValueError(
                f"{_key_of(line)}a number of more than {MOST_DIGITS} digits (at line {number}): "
                "write a shorter one"
            )
        if line.count(".") > DEEPEST and _bare(line).count(".") > DEEPEST:
            raise ValueError(
                f"a key of more than {DEEPEST} parts (at line {number}): write each table under a "
                "header of its own"
            )


def _bare(line: str) -> str:
    """Return a line without its quoted texts, its decimal points and its comment."""
    return _QUOTED.sub("", line).partition("#")[0]


def _key_of(line: str) -> str:
    found = _KEY_OF_LINE.match(line)
    return f"{found[1]}: " if found else ""


def _walk(values: Mapping[str, Any]) -> Iterator[tuple[tuple[int | str, ...], Any]]:
    """Yield every value with its place, tables and lists included, without recursion."""
    waiting: list[tuple[tuple[int | str, ...], Any]] = [((), values)]
    while waiting:
        place, value = waiting.pop()
        yield place, value
        if len(place) > DEEPEST:
            continue
        if isinstance(value, dict):
            waiting.extend(((*place, key), each) for key, each in reversed(value.items()))
        elif isinstance(value, list):
            waiting.extend(((*place, n), value[n]) for n in reversed(range(len(value))))


def _mistake(place: tuple[int | str, ...], value: object) -> str:
    """Return what is wrong with a value whatever its key means, or nothing."""
    if len(place) > DEEPEST:
        return f"nested deeper than {DEEPEST} levels: remove it"
    if place and isinstance(place[-1], str) and not is_plain(place[-1]):
        return "its name has a control character, or is too long: remove it"
    if isinstance(value, str) and not is_plain(value):
        if len(value) > LONGEST_TEXT:
            return f"a text of more than {LONGEST_TEXT} characters: write a shorter one"
        return f"{quoted_value(value)} has a control character: write it without, on one line"
    if isinstance(value, int) and not -LARGEST <= value < LARGEST:
        return "a whole number beyond 64 bits: write a smaller one"
    return ""


def is_plain(text: str) -> bool:
    """Return whether a text is one line without control characters, and not over-long."""
    return len(text) <= LONGEST_TEXT and not _NOT_PLAIN.search(text)


def _brackets(problem: str) -> str:
    """Return what to write where TOML refuses a second [accounts] or [bots], or nothing."""
    for table in ("accounts", "bots"):
        if problem.startswith(f"Cannot declare ('{table}',) twice"):
            return f": there may be several, each begins with [[{table}]]"
    return ""
