r"""JSON that somebody else wrote: decoded within limits, or refused. Every JSON door uses this.

A venue, a proxy, a chat service or a bot may send anything. What is returned is a tree of dicts,
lists, text, booleans and null, of a depth and a size that nothing behind the door has to check
again. Numbers are text, so that no digit is lost and no long number is ever computed with.

A lone surrogate (half of a character, as in `"\ud83d"`) is no text: databases and terminals refuse
it. It is replaced by its escape, the six characters `\ud83d`, in values and in names alike.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from recon.outside_text import storable

MAX_DEPTH = 64
"""Objects and lists within each other."""
MAX_VALUES = 2_000_000
"""Values of one document: it is counted by the commas and opening brackets in it."""
MAX_TEXT = 65_536
"""Characters of one text or name."""
MAX_NUMBER = 400
"""Characters of one number that is not written as text: a double in full has 325."""
MAX_EXPONENT = 400
"""The exponent of one number that is not written as text, without its sign."""

_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SHOWN = 60


class UnreadableJson(ValueError):
    """The text is no JSON, or exceeds a limit; the message names the limit and the value."""


class NotJson(UnreadableJson):
    """The text is no JSON at all."""


def decoded(document: bytes | str, *, has_whole_numbers: bool = False) -> Any:
    """Return what a JSON document says; its numbers are text.

    With `has_whole_numbers` a number without point and exponent is an `int`. Raises UnreadableJson
    for what is no JSON, says a name twice in one object or exceeds a limit of this module.
    """
    text = document if isinstance(document, str) else _text(document)
    count = counted(text)
    if count > MAX_VALUES:
        raise UnreadableJson(f"about {count} values are more than the {MAX_VALUES} that are read")
    has_escapes = _SURROGATE_ESCAPE.search(text) is not None or not text.isascii()
    readable = storable if has_escapes else None
    try:
        found = json.loads(
            text,
            parse_int=_whole if has_whole_numbers else _number,
            parse_float=_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=partial(_object, readable),
        )
    except UnreadableJson:
        raise
    except RecursionError:
        raise UnreadableJson(f"nested deeper than {MAX_DEPTH}") from None
    except ValueError:
        raise NotJson(f"not JSON: {' '.join(text[:_SHOWN].split())!r}") from None
    return _bounded(found, readable)


def counted(text: str) -> int:
    """Return about how many values a document has, before it is decoded; never too few."""
    return text.count(",") + text.count("[") + text.count("{")


def _text(document: bytes) -> str:
    try:
        return document.decode(json.detect_encoding(document))
    except UnicodeDecodeError as error:
        raise UnreadableJson(f"not UTF-8: byte {error.start} cannot be decoded") from None


def _object(readable: Callable[[str], str] | None, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if readable is not None:
        pairs = [(readable(name), value) for name, value in pairs]
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise UnreadableJson(f"the name {twice[:_SHOWN]!r} stands twice in one object")
    return found


def _number(text: str) -> str:
    if len(text) > MAX_NUMBER:
        raise UnreadableJson(
            f"a number of {len(text)} characters is longer than the {MAX_NUMBER} that are read"
        )
    exponent = text.lower().partition("e")[2]
    if exponent and abs(int(exponent)) > MAX_EXPONENT:
        raise UnreadableJson(f"the exponent of {text!r} exceeds {MAX_EXPONENT}")
    return text


def _whole(text: str) -> int:
    return int(_number(text))


def _refuse_constant(name: str) -> NoReturn:
    raise UnreadableJson(f"{name} is no JSON number")


def _bounded(found: Any, readable: Callable[[str], str] | None) -> Any:
    """Return the document, its texts made readable, once its depth and its texts are bounded."""
    top: list[Any] = [found]
    level: list[dict[str, Any] | list[Any]] = [top]
    for _ in range(MAX_DEPTH + 1):
        below: list[dict[str, Any] | list[Any]] = []
        for held in level:
            _check_texts(held, readable)
            inner = held.values() if isinstance(held, dict) else held
            below += [value for value in inner if isinstance(value, dict | list)]
        if not below:
            return top[0]
        level = below
    raise UnreadableJson(f"nested deeper than {MAX_DEPTH}")


def _check_texts(held: dict[str, Any] | list[Any], readable: Callable[[str], str] | None) -> None:
    """Check the lengths of the texts in an object or a list, and make them readable, in place."""
    pairs: Any
    if isinstance(held, dict):
        pairs = held.items()
        for name in held:
            _check_length(name)
    else:
        pairs = enumerate(held)
    for place, value in pairs:
        if isinstance(value, str):
            if len(value) > MAX_TEXT:
                _check_length(value)
            if readable is not None:
                held[place] = readable(value)


def _check_length(text: str) -> None:
    if len(text) > MAX_TEXT:
        raise UnreadableJson(
            f"a text of {len(text)} characters is longer than the {MAX_TEXT} that are read"
        )
