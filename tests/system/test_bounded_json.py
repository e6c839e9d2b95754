"""JSON of others: each limit holds at its value and not one before; text is text."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.system import bounded_json
from recon.system.bounded_json import (
    MAX_DEPTH,
    MAX_EXPONENT,
    MAX_NUMBER,
    MAX_TEXT,
    MAX_VALUES,
    NotJson,
    UnreadableJson,
    decoded,
)

trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=5), inner)),
)


@given(trees)
def test_what_is_within_the_limits_comes_back_exactly(tree: Any) -> None:
    assert decoded(json.dumps(tree)) == tree
    assert decoded(json.dumps(tree, ensure_ascii=False).encode()) == tree


@pytest.mark.parametrize(
    ("most", "too_much", "says"),
    [
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, "[" * 65 + "]" * 65, "deeper than 64"),
        ("[" + "1" * MAX_NUMBER + "]", "[" + "1" * (MAX_NUMBER + 1) + "]", "401 characters"),
        (f"[1e-{MAX_EXPONENT}]", f"[1e{MAX_EXPONENT + 1}]", "exponent .* exceeds 400"),
        (f'["{"x" * MAX_TEXT}"]', f'["{"x" * (MAX_TEXT + 1)}"]', "65537 characters"),
        (f'{{"{"x" * MAX_TEXT}":1}}', f'{{"{"x" * (MAX_TEXT + 1)}":1}}', "65537 characters"),
        ('{"a":1,"b":1}', '{"a":1,"a":1}', "'a' stands twice"),
        ("[null]", "[NaN]", "NaN is no JSON number"),
    ],
)
def test_each_limit_is_named_with_the_value(most: str, too_much: str, says: str) -> None:
    decoded(most)
    with pytest.raises(UnreadableJson, match=says):
        decoded(too_much)


def test_the_number_of_values_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_VALUES == 2_000_000
    monkeypatch.setattr(bounded_json, "MAX_VALUES", 10)
    decoded("[" + "1," * 8 + "1]")
    with pytest.raises(UnreadableJson, match="about 11 values are more than the 10"):
        decoded("[" + "1," * 10 + "1]")


def test_half_of_a_character_is_shown_as_its_escape() -> None:
    assert decoded(r'{"\ud83d": "a\udc00"}') == {r"\ud83d": r"a\udc00"}
    assert decoded(r'"\ud83d\ude00"') == "😀"
    assert decoded('"\ud83d"') == r"\ud83d"


def test_numbers_are_text_or_whole() -> None:
    assert decoded("[1, 1.50, 1e5, -0]") == ["1", "1.50", "1e5", "-0"]
    assert decoded("[1, 1.50]", has_whole_numbers=True) == [1, "1.50"]


@pytest.mark.parametrize("text", ["", "{", "'a'", "[1,]", "\ufeff1", b"\x00", b"nul"])
def test_what_is_no_json_is_said(text: str | bytes) -> None:
    with pytest.raises(NotJson, match="not JSON"):
        decoded(text)


def test_a_hostile_document_takes_no_time() -> None:
    begun = time.process_time()
    for text in ("9" * 1_000_000, "[" * 1_000_000, "1e" + "9" * 1_000_000, '{"a":' * 500_000):
        with pytest.raises(UnreadableJson):
            decoded(text)
    assert time.process_time() - begun < 2
