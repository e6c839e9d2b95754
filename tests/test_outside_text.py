"""Secrets become their names in every encoding; what nobody sees becomes visible."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pyarrow as pa
import pytest

from recon.config.secrets import read_secret, remember_proxies
from recon.core.records import CheckItem, Coverage, Record, Table
from recon.errors import ReconError, VenueBusy, clean_up
from recon.outside_text import (
    csv_cell,
    excerpt,
    redact,
    redact_data,
    remember_secret,
    shown,
    shown_document,
    visible,
    weak_secrets,
)
from recon.system.outside_evidence import without_secrets
from tests.support.fleet import NOW

SECRET = "Pä ss\"w\\o/rd'<&+%0001"
NAME = "accounts.okx.passphrase"


@pytest.fixture
def knows() -> None:
    remember_secret(NAME, SECRET)


def test_escapes_are_those_of_python() -> None:
    assert visible("\x1b[2J\x9b\x7f\r\t\u202e\u200b\ufeff\udc80\U000e0041\n") == (
        r"\x1b[2J\x9b\x7f\r\t\u202e\u200b\ufeff\udc80\U000e0041" + "\n"
    )


def test_a_weak_secret_counts_in_words_where_it_stands_alone_and_never_in_data() -> None:
    for name, value in (
        ("pin", "123456"),
        ("word", "positions"),
        ("tiny", "abc"),
        ("ok", "x9-y8-z7"),
    ):
        remember_secret(name, value)
    said = "pin 123456, not 1234567, 0.123456, 123456.5; positions, not dispositions; abc; x9-y8-z7"
    assert redact(said) == (
        "pin [secret pin], not 1234567, 0.123456, 123456.5; "
        "[secret word], not dispositions; abc; [secret ok]"
    )
    assert redact_data(said) == said.replace("x9-y8-z7", "[secret ok]")
    assert weak_secrets() == [("pin", 6), ("tiny", 3), ("word", 9)]


def test_a_secret_inside_another_and_inside_its_own_name() -> None:
    remember_secret("outer", "alpha-beta-gamma-1")
    remember_secret("the beta-gamma", "beta-gamma")
    clean = redact("alpha-beta-gamma-1 beta-gamma")
    assert clean == "[secret outer] [secret the beta-gamma]"
    assert redact(clean) == clean


def test_a_cut_comes_after_the_secrets_are_gone(knows: None) -> None:
    assert SECRET[:4] not in excerpt("x" * 58 + SECRET, 62)


def test_errors_reasons_checks_and_notes_have_no_secret(knows: None) -> None:
    error = VenueBusy(f"account/config: code 50113: {SECRET}")
    assert str(error) == f"account/config: code 50113: [secret {NAME}]"
    assert SECRET not in repr(error)
    first = ReconError("first")

    def fails() -> None:
        raise RuntimeError(SECRET)

    clean_up(fails, after=first)
    assert first.__notes__ == [f"then, during clean-up: RuntimeError: [secret {NAME}]"]
    coverage = Coverage("fills", ("fill",), "failed", NOW, NOW, NOW, NOW, reason=SECRET)
    item = CheckItem(SECRET, SECRET, SECRET, notes=(SECRET,))
    assert SECRET not in f"{coverage} {item}"


def test_evidence_has_no_secret_and_nothing_else_of_it_changes(knows: None) -> None:
    remember_secret("token", "123456789012345678901234")
    remember_secret("pin", "1234567")
    odd = {"px": "1234567", "qty": "0.50", "n": None, "nested": [{"é": "\x1b"}]}
    untouched = Record("fill", "1", json.dumps(odd))
    echoing = Record("fill", "2", json.dumps({**odd, "note": f"OK-ACCESS-PASSPHRASE {SECRET}"}))
    rows = pa.table({"id": ["1", "2"], "note": ["1234567", SECRET], "pnl": ["1.10", None]})
    quiet = Table("trades", pa.table({"id": ["1"], "pnl": ["1234567"]}))
    clean = without_secrets([untouched, echoing, Table("trades", rows), quiet])
    assert clean[0] is untouched
    assert clean[3] is quiet
    assert isinstance(clean[1], Record)
    assert json.loads(clean[1].payload) == {**odd, "note": f"OK-ACCESS-PASSPHRASE [secret {NAME}]"}
    assert isinstance(clean[2], Table)
    assert clean[2].batches.to_pydict() == {
        "id": ["1", "2"],
        "note": ["1234567", f"[secret {NAME}]"],
        "pnl": ["1.10", None],
    }


def test_documents_keep_their_shape_and_numbers(knows: None) -> None:
    said = {"reasons": [f"{SECRET}\x1b"], "net": "-373.00", "n": 3, "at": None, SECRET: True}
    mark = f"[secret {NAME}]"
    assert shown_document(said) == {
        "reasons": [f"{mark}\\x1b"],
        "net": "-373.00",
        "n": 3,
        "at": None,
        mark: True,
    }


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("tgram://123456789:AAcanary_abcdefghij/987654321/", ["AAcanary_abcdefghij"]),
        (
            "https://hooks.slack.com/services/T0000001/B0000002/XXXXXXXXXXXXXXXXXXXXXXXX",
            ["T0000001", "B0000002", "XXXXXXXXXXXXXXXXXXXXXXXX"],
        ),
        ("redis://bot:s3cr%40t-word@127.0.0.1:6379/0", ["s3cr%40t-word", "s3cr@t-word"]),
        ("pagerduty://0canary0canary0c@1canary1canary1", ["0canary0canary0c", "1canary1canary1"]),
        ("json://127.0.0.1:8080/hook?key=0123456789abcdef", ["0123456789abcdef"]),
        (
            "-----BEGIN EC KEY-----\nMHcCAQEEIBkg1234567890\n-----END EC KEY-----",
            ["MHcCAQEEIBkg1234567890"],
        ),
    ],
)
def test_what_of_a_url_is_secret_is_recognised_alone(
    url: str, parts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "url").write_text(url)
    (tmp_path / "url").chmod(0o600)
    read_secret({"file": "url"}, tmp_path, "paging.channels.1.url")
    for one in (url, *parts):
        assert redact(f"cannot send to {one}: no") == (
            "cannot send to [secret paging.channels.1.url]: no"
        )
    for plain in ("127.0.0.1", "hooks.slack.com", "services", "987654321", "127.0.0.1:8080"):
        assert redact(plain) == plain


def test_the_password_of_a_proxy_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://desk:pr0xy-password@proxy.example.com:3128")
    remember_proxies()
    said = "proxy.example.com refuses desk:pr0xy-password"
    assert redact(said) == "proxy.example.com refuses desk:[secret HTTPS_PROXY]"


@pytest.mark.parametrize("sign", list("=+-@＝＋－＠"))
@pytest.mark.parametrize("before", ["", " ", "\t", "\r", "\n", '"', "'", ' "\n', "\u3000"])
def test_no_cell_begins_like_a_formula(sign: str, before: str) -> None:
    for text in (f"{before}{sign}cmd()", f"trade 1;{before}{sign}cmd()"):
        cell = csv_cell(text)
        assert not re.search(rf"(^|;)[\s\"]*[{sign}]", cell)
        assert "\n" not in cell
        assert cell.replace("'", "").endswith("cmd()")


def test_harmless_cells_stay_as_they_are() -> None:
    for text in ("", "trade 7", "BTC-USDT-SWAP", "fee 0.10, price -5", "日本語"):
        assert csv_cell(text) == text


def test_shown_text_is_safe_in_both_ways(knows: None) -> None:
    assert shown(f"\x1b]0;{SECRET}\x07") == rf"\x1b]0;[secret {NAME}]\x07"


def test_a_search_is_quick_however_the_text_is_made() -> None:
    r"""Long runs of what may be an escape: backslashes, `%25`, `&amp;`, zeros."""
    secret = "ab12\\\\\\\\\\\"'/% &é" + "\\" * 70 + "z9"
    remember_secret(NAME, secret)
    begun = time.process_time()
    for run in ("\\", "%25", "&amp;", "&#0", "\\u00", "'\\", '"'):
        for hint in ("ab12", "z9"):
            redact(hint + run * 20_000 + hint)
    assert time.process_time() - begun < 5
    assert redact(json.dumps(secret)) == f'"[secret {NAME}]"'
    records = [Record("fill", "1", json.dumps({"note": secret}))]
    [clean] = without_secrets(records)
    assert isinstance(clean, Record)
    assert json.loads(clean.payload) == {"note": f"[secret {NAME}]"}
