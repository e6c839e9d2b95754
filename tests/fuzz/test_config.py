"""`recon.toml`: every file is read, or refused with its name, the key and a remedy."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from recon.config.settings import load, salvage, state_folder
from recon.config.toml_file import LARGEST
from recon.demo.story.folder import CONFIG
from recon.errors import ConfigError, ReconError
from recon.fetch.plan import make_plan
from recon.outside_text import visible
from recon.run.dead_man_switch import address
from recon.run.schedule import schedule
from tests.fuzz.door import fuzzed

NOW = datetime(2026, 11, 20, 5, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]
SECRET = "secret"


def valid() -> list[dict[str, Any]]:
    """Return what mutations begin with: documented configurations, the demo's, all keys."""
    demo = CONFIG.substitute(
        since="2026-03-01",
        okx_url="http://127.0.0.1:1",
        flex_url="http://127.0.0.1:2",
        query_id="1",
    )
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    blocks = re.findall(r"```toml[^\n]*\n(.*?)```", text, re.DOTALL)
    account = [block for block in blocks if "[[accounts]]" in block and "[[bots]]" in block]
    return [tomllib.loads(text) for text in (demo, EVERY_KEY, *account)]


EVERY_KEY = """
[recon]
state = "state"
tolerance_pct = 0.5
tolerance_abs = "1.00"
sign_off_by = 2
crypto_opens = 13:00:00
ping = { file = "secret" }

[[accounts]]
id = "okx"
venue = "okx"
currency = "USDT"
since = 2026-03-01
instrument_types = ["SWAP"]
base_url = "https://okx.example"
allow_plain_http = false
api_key = { file = "secret" }
api_secret = { file = "secret" }
passphrase = { file = "secret" }
[[accounts.opening]]
instrument = "BTC-USDT-SWAP"
qty = "-1.5"
price = 100
side = "short"

[[accounts]]
id = "flex"
venue = "ibkr-flex"
currency = "USD"
since = 2026-03-02
calendar = "XNYS"
files = "statements/*.xml"
broker_account = "U1"

[[accounts]]
id = "tws"
venue = "ibkr-tws"
mode = "paper"
currency = "USD"
since = 2026-03-02
host = "127.0.0.1"
port = 4002
client_id = 900
timezone = "America/New_York"
confirmed_by = "flex"

[[accounts]]
id = "bybit"
venue = "bybit"
mode = "demo"
type = "swap"
sub_type = "linear"
symbols = ["BTC/USDT:USDT"]
currency = "USDT"
since = 2026-03-01
api_key = { file = "secret" }
wallet_address = "0x1"

[[bots]]
id = "one"
account = "okx"
instruments = ["BTC-USDT-SWAP"]
order_tag = "one"
database = "sqlite:///one.sqlite"
mapping = "freqtrade"
costs_booked = "at_close"
bar_s = 3600
[bots.heartbeat]
file = "beat.json"
period_s = 60

[[bots]]
id = "two"
account = "bybit"
order_tag = "two"
database = "postgresql://recon@127.0.0.1/db?sslmode=require"
database_password = { file = "secret" }
heartbeat = { redis = "redis://127.0.0.1/0", key = "beat" }

[paging]
channels = [{ url = { file = "secret" }, severity = "major", api_token = { file = "secret" } }]
escalation = [{ url = { file = "secret" }, base_url = "https://pages.example" }]
"""

VALID = valid()

odd_texts = st.sampled_from(
    [
        "", " ", ".", "..", "/", "//", "\0", "a\0b", "\x1b[2J", "\u202eabc", "a\nb", "=", "A=B",
        "-x",
        "x" * 300, "x" * 9000, "é" * 200, "[", "[a", "**", "***x", "http://", "http://[",
        "https://[::",
        "https://a..b", "https://" + "a" * 300, "https://\u2170ocalhost",
        "http://127.0.0.1@evil.com",
        "http://0x7f000001", "https://u:p@h", "https://h:99999", "postgresql://[", "postgresql://h:x/d",
        "postgresql://a:1,b:2/d", "postgresql://h/%00", "sqlite:///%00", "sqlite:///" + "x" * 300,
        "sqlite", "mysql://h/d", "csv:///**/*", "nan", "inf", "-inf", "sNaN", "1e999999999",
        "1e-999999999", "-0", "0.1e-30", "1" * 5000, "XNYS", "xnys", "XXXX", "NYSE", "24/7", "ASX",
        "America", "America/New_York", "../../etc/passwd", "posixrules", "okx", "ibkr-flex", "ccxt",
        "bybit", "0001-01-01", "9999-12-31", "2026-02-30", "25:00", "13:00+02:00",
        "__init__", "auto", "/proc", "$HOME", "${X",
    ]
)  # fmt: skip
texts = st.one_of(odd_texts, st.text(max_size=20))
numbers = st.one_of(
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, -1, 2, 65535, 65536, 2**31, LARGEST - 1, LARGEST, -LARGEST, 10**4000]),
    st.floats(),
    st.sampled_from([Decimal("1e30"), Decimal("1e-30"), Decimal("0.5")]),
)
zones = st.sampled_from([None, UTC, timezone(timedelta(hours=23))])
times = st.one_of(
    st.dates(),
    st.sampled_from([date.min, date.max, time.min, time.max]),
    st.times(),
    st.datetimes(timezones=zones),
)
names = st.sampled_from(
    [
        *("id", "venue", "env", "file", "keyring", "url", "redis", "key", "since", "path"),
        *("allow_plain_http", "\0", "\x1b[2J", "a.b", "", "x" * 9000, "accounts"),
    ]
)
values = st.recursive(
    st.one_of(texts, numbers, times),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(names | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
"""Any value of TOML."""


def places(value: Any, before: tuple[int | str, ...] = ()) -> Iterator[tuple[int | str, ...]]:
    """Yield the place of every value inside a configuration."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for step, each in inside:
        yield (*before, step)
        if isinstance(each, dict | list):
            yield from places(each, (*before, step))


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """Make a configuration in which one to three values are dropped, replaced, doubled or added."""
    config: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(config))
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        parent: Any = config
        for step in way:
            parent = parent[step]
        how = draw(st.sampled_from(["replace", "replace", "replace", "drop", "double", "add"]))
        if how == "drop":
            del parent[last]
        elif how == "replace":
            parent[last] = draw(values)
        elif how == "add" and isinstance(parent, dict):
            parent[draw(names)] = draw(values)
        elif how == "double" and isinstance(parent, list) and isinstance(last, int):
            parent.append(copy.deepcopy(parent[last]))
    return config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / SECRET).touch(0o600)
    (tmp_path / SECRET).write_text("https://example.com/x", encoding="utf-8")
    (tmp_path / "keys").mkdir()
    for name in (
        "okx-api-key",
        "okx-api-secret",
        "okx-passphrase",
        "ibkr-flex-token",
        "channel-url",
    ):
        (tmp_path / "keys" / name).touch(0o600)
        (tmp_path / "keys" / name).write_text("https://example.com/x", encoding="utf-8")
    return tmp_path


def read(path: Path, content: bytes) -> str:
    """Have every reader read a file, and plan a night by it; return why it was refused, if so."""
    path.write_bytes(content)
    salvage(path)
    address(path)
    state = state_folder(path)
    assert state is None or state.is_relative_to("/")
    for with_secrets in (True, False):
        try:
            config = load(path, with_secrets=with_secrets)
        except ConfigError as error:
            refused = str(error)
            assert "cannot be checked" not in refused, refused
            for line in refused.splitlines():
                assert line.startswith(str(path)), line
                assert visible(line, keeps="") == line
                assert len(line) < 4000, line
                assert ": " in line.removeprefix(f"{path}: "), f"no remedy: {line}"
            return refused
    with suppress(ReconError):
        make_plan(config, as_of=None, accounts=(), now=lambda: NOW, patience=None)
    with suppress(ReconError):
        schedule(config, NOW)
    return ""


@fuzzed
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)).filter(bool))
def test_random_bytes_are_read_or_refused(folder: Path, content: bytes) -> None:
    read(folder / "recon.toml", content)


lines = st.lists(
    st.sampled_from(
        [
            *("[recon]", "[[accounts]]", "[[bots]]", "[paging]", "[", "]", "{", "}", "=", '"', "'"),
            *('"""', "\n", "a = 1", "a", ".", ",", "#", "id = ", "nan", "0x", "1e", "2026-13-45"),
            *("\\u0000", "\\ud800", "\0", "\ufeff", "\r", "[[" * 50, "{a=" * 50, "a." * 50),
            *("9" * 200, "true", "-", "+", "1_", "\\"),
        ]
    ),
    max_size=40,
)


@fuzzed
@given(lines)
def test_pieces_of_toml_are_read_or_refused(folder: Path, lines: list[str]) -> None:
    read(folder / "recon.toml", " ".join(lines).encode())


@fuzzed
@given(mutated())
def test_a_mutated_configuration_is_read_or_refused(folder: Path, config: dict[str, Any]) -> None:
    try:
        text = tomli_w.dumps(config)
    except (ValueError, TypeError):  # not TOML: a number of too many digits, a time with a zone
        return
    read(folder / "recon.toml", text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("number", range(len(VALID)))
def test_what_mutations_begin_with_is_valid_or_lacks_a_secret(folder: Path, number: int) -> None:
    refused = read(folder / "recon.toml", tomli_w.dumps(VALID[number]).encode())
    for line in refused.splitlines():
        assert "environment variable" in line or "secret file" in line, line
