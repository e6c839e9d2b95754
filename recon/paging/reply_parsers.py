"""Fields of JSON that anybody may have written: each of the expected type, or empty."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from recon.system.bounded_json import UnreadableJson, decoded

MAX_TEXT, MAX_NAME = 300, 64
MOST_NUMBER = 2**53
"""Bound of an id, either way: Telegram's have at most 52 bits."""
LATEST = 2**33
"""Bound of a time in seconds since 1970."""


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is, or an empty one."""
    try:
        return as_object(decoded(body, has_whole_numbers=True))
    except UnreadableJson:
        return {}


def as_object(value: object) -> dict[str, Any]:
    """Return a value if it is a JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def as_number(value: object) -> int | None:
    """Return a value if it is a whole number of the size of an id."""
    return value if type(value) is int and abs(value) < MOST_NUMBER else None


def as_unix_time(value: object) -> int:
    """Return a time in seconds since 1970, or 0."""
    number = as_number(value)
    return number if number is not None and 0 < number < LATEST else 0


def as_instant(value: object) -> str:
    """Return an instant as ISO text in UTC, which sorts as instants do, or an empty text."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        return at.astimezone(UTC).isoformat(timespec="microseconds") if at and at.tzinfo else ""
    except (ValueError, OverflowError):
        return ""


def as_line(value: object, most: int) -> str:
    """Return a text as one line of printable characters, which no terminal obeys."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())[:most]
