"""The payload of a record: JSON whose numbers are text."""

from __future__ import annotations

import json
from collections.abc import Mapping


def payload_text(row: Mapping[str, object]) -> str:
    """Return `row` as one line of JSON, its keys in the source's order.

    Raises TypeError for a float: a defect of the caller, because its digits are lost already.
    """
    return json.dumps(_checked(row), ensure_ascii=False, separators=(",", ":"))


def _checked(value: object) -> object:
    if value is None or isinstance(
        value, str | bool
    ):  # most values; the test for a Mapping is slow
        return value
    if isinstance(value, float):
        raise TypeError(f"a float reached a payload: {value!r}")
    if isinstance(value, Mapping):
        return {str(key): _checked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(item) for item in value]
    if isinstance(value, int):
        return str(value)
    return value
