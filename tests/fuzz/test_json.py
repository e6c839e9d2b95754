"""JSON of a bot, of any shape and broken anywhere: each value as it is written, or a refusal."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.bot_databases.json_files import parse_json
from connectors.bot_databases.snapshot import TableRows
from tests.fuzz.books import LIMITS, TEXT, Change, changes, read_file, rows
from tests.fuzz.door import fuzzed

NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(4000, 6000).map("9".__mul__),
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,10})?", fullmatch=True),
)
LEAVES = st.one_of(
    NUMBERS, TEXT.map(json.dumps), st.sampled_from(["null", "true", "false", "NaN", "Infinity"])
)


def objects(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(TEXT.map(json.dumps), parts), max_size=4)
    return pairs.map(lambda some: "{" + ", ".join(f"{name}: {part}" for name, part in some) + "}")


def lists(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(parts, max_size=4).map(lambda some: "[" + ",".join(some) + "]")


VALUES = st.recursive(LEAVES, lambda parts: lists(parts) | objects(parts), max_leaves=6)
DEEP = st.tuples(VALUES, st.integers(1, 3000)).map(
    lambda one: '{"a":' * one[1] + one[0] + "}" * one[1]
)
ROWS = objects(VALUES | DEEP)
FILES = st.one_of(lists(ROWS), objects(lists(ROWS) | objects(ROWS)), objects(ROWS), ROWS, VALUES)


def told(folder: Path, content: bytes, name: str = "trades.json") -> dict[str, TableRows] | None:
    return read_file(folder / name, content, parse_json)


@fuzzed
@given(st.lists(ROWS, max_size=5), st.sampled_from(["trades.json", "trades.jsonl"]))
def test_each_value_is_as_it_is_written(tmp_path: Path, written: list[str], name: str) -> None:
    text = "[" + ",".join(written) + "]" if name.endswith("json") else "\n".join([*written, ""])
    found = told(tmp_path, text.encode(), name)
    try:
        expected = [slowly(one) for one in written]
    except (ValueError, RecursionError):
        assert found is None
        return
    names = {one for row in expected for one in row}
    if len({one.lower() for one in names}) < len(names):
        assert found is None  # SQL cannot tell its columns apart
    elif names and found is not None:
        assert rows(found["trades"]) == [
            {one: row.get(one) for one in rows(found["trades"])[0]} for row in expected
        ]
    assert found is not None or not names or has_too_much(text)


@fuzzed
@given(FILES)
def test_any_shape_is_read_or_refused(tmp_path: Path, written: str) -> None:
    told(tmp_path, written.encode())


@fuzzed
@given(FILES, changes())
def test_a_broken_file_is_read_or_refused(tmp_path: Path, written: str, change: Change) -> None:
    told(tmp_path, change.of(written.encode()))


def slowly(text: str) -> dict[str, str | None]:
    """Return the values of one object as text. Raises ValueError for what has no value."""

    def pairs(some: list[tuple[str, Any]]) -> dict[str, Any]:
        if max(Counter(visible(name) for name, _ in some).values(), default=1) > 1:
            raise ValueError("two of one name")
        return {visible(name): value for name, value in some}

    def constant(word: str) -> None:
        if word != "NaN":
            raise ValueError(word)

    row = json.loads(
        text,
        parse_int=str,
        parse_float=str,
        parse_constant=constant,
        object_pairs_hook=pairs,
    )
    if depth(row) > LIMITS.nesting + 1:
        raise ValueError("too deep")
    return {name: as_text(value) for name, value in row.items()}


def as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return json.dumps(shown(value), ensure_ascii=False, separators=(",", ":"))
    return None if value is None else visible(value)


def shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shown(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shown(part) for part in value]
    return visible(value) if isinstance(value, str) else value


def visible(text: str) -> str:
    return "".join(f"\\u{ord(one):x}" if 0xD800 <= ord(one) < 0xE000 else one for one in text)


def depth(value: Any) -> int:
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, parts), default=0)
    return 0


def has_too_much(text: str) -> bool:
    return len(text) > 1000 * LIMITS.value_kb
