"""Text from outside: any secret in any encoding, any character in any language."""

from __future__ import annotations

import unicodedata

from hypothesis import assume, example, given
from hypothesis import strategies as st

from recon.outside_text import (
    csv_cell,
    forget_secrets,
    is_weak,
    redact,
    redact_data,
    remember_secret,
    visible,
)
from tests.fuzz.door import fuzzed
from tests.support.encodings import encodings

NAME = "accounts.okx.passphrase"
SECRET = "Pä ss\"w\\o/rd'<&+%0001"
strong = st.text(st.characters(exclude_categories=["Cs"]), min_size=16, max_size=60).filter(
    lambda text: text == text.strip() and not is_weak(text) and "[" not in text
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@fuzzed
@given(strong, texts, texts, st.data())
@example(SECRET, "", "", None)
def test_no_encoding_of_a_secret_is_left(
    secret: str, before: str, after: str, data: st.DataObject | None
) -> None:
    every = list(encodings(secret))
    chosen = every if data is None else [data.draw(st.sampled_from(every))]
    try:
        remember_secret(NAME, secret)
        for one in chosen:
            # Letters beside what is coded would belong to it, and make it another code.
            text = f"{before} {one} {after}"
            for clean in (redact(text), redact_data(text)):
                assert secret not in clean
                assert one not in clean
                assert f"[secret {NAME}]" in clean
                assert redact(clean) == redact_data(clean) == clean
    finally:
        forget_secrets()


@fuzzed
@given(texts, strong)
def test_a_text_without_a_secret_stays_as_it_is(text: str, secret: str) -> None:
    assume(not any(one in text for one in encodings(secret)))
    assume(len(text) < len(secret) // 2)  # else half of one may be a code of the other
    try:
        remember_secret(NAME, secret)
        assert redact(text) == redact_data(text) == text
    finally:
        forget_secrets()


@fuzzed
@given(st.text(max_size=100))
def test_visible_text_has_no_hidden_character(text: str) -> None:
    clean = visible(text)
    hidden = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
    assert not [c for c in clean if unicodedata.category(c) in hidden and c != "\n"]
    assert visible(clean) == clean
    clean.encode()
    assert "\n" not in visible(text, keeps="")


@fuzzed
@given(
    st.text(
        st.characters(exclude_categories=["Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"]), max_size=100
    )
)
@example("Přílíš žluťoučký kůň, 日本語\u3000全角, العربية, हिन्दी, ไทย, 1\u202f234,5\u00a0€ ⚠\ufe0f")
def test_printable_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@fuzzed
@given(st.text(max_size=60))
def test_a_cell_is_one_line_that_no_spreadsheet_runs(text: str) -> None:
    cell = csv_cell(text)
    assert cell.lstrip(' "\u00a0\u3000')[:1] not in set("=+-@＝＋－＠")
    assert not {"\n", "\r", "\t"} & set(cell)
