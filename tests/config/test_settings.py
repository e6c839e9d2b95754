from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import ccxt
import keyring
import pytest
from keyring.backend import KeyringBackend

from recon.cli import run_cli
from recon.config.ccxt_ids import exchange_ids
from recon.config.order_tags import INJECTED
from recon.config.settings import (
    CcxtAccount,
    Config,
    OkxAccount,
    TwsAccount,
    load,
    salvage,
    state_folder,
)
from recon.errors import ConfigError, ExitCode
from recon.run.dead_man_switch import address

WHOLE = """
[recon]
state = "state"
tolerance_pct = 0.5
tolerance_abs = "1.00"

[[accounts]]
id = "okx-demo"
venue = "okx"
mode = "demo"
currency = "USDT"
since = 2026-03-01
instrument_types = ["SWAP"]
api_key = { env = "A_KEY" }
api_secret = { file = "secret" }
passphrase = { env = "A_KEY" }

[[accounts]]
id = "ibkr-paper"
venue = "ibkr-flex"
mode = "paper"
currency = "USD"
since = 2026-01-02
calendar = "XNYS"
query_id = "123456"
token = { env = "A_KEY" }

[[accounts]]
id = "ibkr-today"
venue = "ibkr-tws"
mode = "paper"
currency = "USD"
since = 2026-01-02
confirmed_by = "ibkr-paper"

[[bots]]
id = "btc-quantum"
account = "okx-demo"
instruments = ["BTC-USDT-SWAP"]
order_tag = "btcq"
database = "sqlite:///vaults/btc-quantum.sqlite"
mapping = "freqtrade"
costs_booked = "at_close"
heartbeat = { file = "beats/btc-quantum.json", period_s = 60 }

[paging]
channels = [ { url = { env = "A_KEY" } } ]
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("A_KEY", "canary-key")
    secret = tmp_path / "secret"
    secret.write_text("canary-secret\n")
    secret.chmod(0o600)
    return tmp_path / "recon.toml"


def write(path: Path, old: str = "", new: str = "") -> Path:
    assert old in WHOLE
    path.write_text(WHOLE.replace(old, new))
    return path


def test_the_contract_s_example_is_read(path: Path) -> None:
    config = load(write(path))
    okx, flex, today = config.accounts
    assert isinstance(okx, OkxAccount)
    assert (okx.lots, flex.lots, today.lots) == ("average", "fifo", "fifo")
    assert okx.since == date(2026, 3, 1)
    assert okx.api_secret.get_secret_value() == "canary-secret"
    assert config.recon.tolerance_pct == Decimal("0.5")
    assert config.state == path.parent / "state"


@pytest.mark.parametrize(
    ("extra", "address"),
    [
        ("", ("127.0.0.1", 7497, 900)),
        ('host = "gateway"\nport = 4002\nclient_id = 0\n', ("gateway", 4002, 0)),
    ],
)
def test_tws_is_where_it_listens_by_itself_or_where_it_is_said_to(
    path: Path, extra: str, address: tuple[str, int, int]
) -> None:
    today = load(write(path, "confirmed_by", f"{extra}confirmed_by")).accounts[2]
    assert isinstance(today, TwsAccount)
    assert today.address == address


def test_it_never_shows_a_secret(path: Path) -> None:
    config = load(write(path))
    assert "canary" not in repr(config) + str(config) + config.model_dump_json()


def test_it_is_frozen(path: Path) -> None:
    config = load(write(path))
    with pytest.raises(ValueError, match="frozen"):
        config.recon.tolerance_pct = Decimal(5)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('mode = "demo"', 'mode = "demo"\ntypo = 1', "accounts.okx-demo.typo: an unknown key"),
        ('state = "state"', 'stat = "s"', "recon.stat: an unknown key"),
        ('venue = "okx"', 'venue = "ftx"', 'accounts.okx-demo: venue must be "okx", '),
        ("since = 2026-03-01", 'since = "soon"', "accounts.okx-demo.since: "),
        ("since = 2026-03-01", "", "accounts.okx-demo.since: missing: add it"),
        ('api_key = { env = "A_KEY" }', 'api_key = "k"', "okx-demo.api_key: a secret is never"),
        ('{ file = "secret" }', '{ file = "gone" }', "okx-demo.api_secret: cannot read the secret"),
        ('{ env = "A_KEY" } } ]', '{ env = "NONE" } } ]', "variable NONE is not set"),
        ("tolerance_pct = 0.5", "tolerance_pct = -1", "recon.tolerance_pct: "),
        ("tolerance_pct = 0.5", 'tolerance_pct = "x"', "recon.tolerance_pct: 'x' is not a number"),
        (
            'account = "okx-demo"',
            'account = "okx"',
            "bots.btc-quantum.account: there is no account",
        ),
        ('id = "ibkr-paper"', 'id = "okx-demo"', "two accounts are called 'okx-demo'"),
        ('query_id = "123456"', 'files = "x.xml"', "either files, or query_id and token"),
        (
            'confirmed_by = "ibkr-paper"',
            'confirmed_by = "okx-demo"',
            "confirmed_by: there is no ibkr-flex account 'okx-demo': use one of ibkr-paper",
        ),
        ("confirmed_by", 'timezone = "EDT-5"\nconfirmed_by', "'EDT-5' is no time zone"),
        ("confirmed_by", "port = 70000\nconfirmed_by", "accounts.ibkr-today.port: "),
        ("confirmed_by", 'token = "x"\nconfirmed_by', "ibkr-today.token: an unknown key"),
        ("confirmed_by", 'base_url = "http://x"\nconfirmed_by', "ibkr-today.base_url: "),
        ("[recon]", "[recon", "not valid TOML"),
        ("[recon]", "path = 1\n[recon]", "path: an unknown key"),
        ('costs_booked = "at_close"', 'costs_booked = "never"', "bots.btc-quantum.costs_booked: "),
        (
            "sqlite:///vaults/btc-quantum.sqlite",
            "postgresql://bot:canary@host/db",
            "bots.btc-quantum.database: a password is never written here: take it out",
        ),
        (
            "sqlite:///vaults/btc-quantum.sqlite",
            "postgresql:///db?host=/run&password=canary",
            "bots.btc-quantum.database: a password is never written here: take it out",
        ),
        *(
            (
                "sqlite:///vaults/btc-quantum.sqlite",
                f"postgresql://{wrong}",
                f"database: {what}: write",
            )
            for wrong, what in [
                ("host:badport/db", "its host or its port cannot be read"),
                ("host:65536/db", "its host or its port cannot be read"),
                ("[::1]:0/db", "its host or its port cannot be read"),
                ("one:5432,two:x/db", "its host or its port cannot be read"),
                ("/db?host=/run&port=x", "its host or its port cannot be read"),
                ("host=host password=canary", "its host or its port cannot be read"),
                ("bot:canary/1@host/db", "its host or its port cannot be read"),
                ("bot:canary[1@host/db", "it is no URL"),
            ]
        ),
        (
            "sqlite:///vaults/btc-quantum.sqlite",
            "postgresql://bot:canary%00@host/db",
            "database: it has a control character: write it without",
        ),
        (
            'costs_booked = "at_close"',
            'database_password = "canary"',
            "bots.btc-quantum.database_password: a secret is never written here",
        ),
    ],
)
def test_a_mistake_names_file_key_and_remedy(path: Path, old: str, new: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(path, old, new))
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)
    assert "canary" not in str(caught.value)


BEAT = 'heartbeat = { file = "beats/btc-quantum.json", period_s = 60 }'
NO_URL = "begin it with"
NO_PASSWORD = "a password is never written here: name the whole URL as"


@pytest.mark.parametrize(
    ("heartbeat", "expected"),
    [
        ("period_s = 60", "give one of file, url, or redis and key"),
        ('file = "a", url = "http://a/"', "give one of file, url, or redis and key"),
        ('file = "a", key = "b"', "redis and key belong together"),
        ('redis = "redis://a"', "redis and key belong together"),
        ('redis = "redis://a", key = ""', "key:"),
        ('redis = "http://a", key = "b"', f"redis: it is no URL: {NO_URL} redis or rediss"),
        ('url = "redis://a"', f"url: it is no URL: {NO_URL} http or https"),
        ('url = "http:///beat"', NO_URL),
        ('url = "http://[a/"', NO_URL),
        ('url = "http://a/ b"', NO_URL),
        ('url = "http://u:canary@a/"', NO_PASSWORD),
        ('url = "http://u:canary@a b/"', NO_URL),
        ('url = "http:/u:canary@a/"', NO_URL),
        ('redis = "redis://u:canary/1@a:6379", key = "b"', NO_URL),
        ('redis = "redi://u:canary@a:6379", key = "b"', NO_URL),
        ('redis = "redis://:canary@a", key = "b"', NO_PASSWORD),
        ("url = 7", "a secret is never written here"),
        ('file = "a", period_s = 0', "period_s:"),
        ('file = "a", bar_s = 60', "write bar_s in the bot's own entry, beside heartbeat"),
        ('file = "a", bars = 60', "bars: an unknown key"),
    ],
)
def test_a_heartbeat_is_in_one_place_and_shows_no_password(
    path: Path, heartbeat: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(write(path, BEAT, f"heartbeat = {{ {heartbeat} }}"))
    assert "bots.btc-quantum.heartbeat" in str(error.value)
    assert expected in str(error.value)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("heartbeat", "key", "expected"),
    [
        ('url = "http://127.0.0.1:8080/beat"', "url", "http://127.0.0.1:8080/beat"),
        ('url = { env = "BEAT" }, period_s = 30', "url", "https://canary/beat"),
        ('redis = "rediss://a:6380/1", key = "k"', "redis", "rediss://a:6380/1"),
        ('redis = { env = "REDIS" }, key = "k"', "redis", "rediss://:canary@a/0"),
        ('redis = { env = "LOCAL" }, key = "k"', "redis", "redis://:canary@127.0.0.1/0"),
    ],
)
def test_a_heartbeat_is_served_in_the_open_or_behind_a_secret(
    path: Path, heartbeat: str, key: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEAT", "https://canary/beat")
    monkeypatch.setenv("REDIS", "rediss://:canary@a/0")
    monkeypatch.setenv("LOCAL", "redis://:canary@127.0.0.1/0")
    config = load(write(path, BEAT, f"heartbeat = {{ {heartbeat} }}"))
    found = config.bots[0].heartbeat
    assert getattr(found, key).get_secret_value() == expected
    assert "canary" not in repr(config)


def test_the_watch_is_given_the_secrets_that_it_needs_and_no_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path.parent / "secret").unlink()
    config = load(write(path), with_secrets={"url", "redis"})
    okx = config.accounts[0]
    assert isinstance(okx, OkxAccount)
    assert okx.api_secret.get_secret_value() == "unread"
    assert config.paging.channels[0].url.get_secret_value() == "canary-key"
    monkeypatch.delenv("A_KEY")
    with pytest.raises(ConfigError, match="A_KEY is not set"):
        load(path, with_secrets={"url", "redis"})


def test_one_bot_a_pair(path: Path) -> None:
    second = """[[bots]]
id = "other"
account = "okx-demo"
instruments = ["BTC-USDT-SWAP"]
database = "sqlite:///x.sqlite"

[paging]"""
    with pytest.raises(ConfigError, match=r"BTC-USDT-SWAP is owned by btc-quantum already"):
        load(write(path, "[paging]", second))


def tagged(path: Path, *tags: str, account: str = "okx-demo") -> Path:
    """Write a configuration with a bot for each order tag."""
    bots = "".join(
        f'[[bots]]\nid = "bot{n}"\naccount = "{account}"\norder_tag = "{tag}"\n'
        'database = "sqlite:///x.sqlite"\n'
        for n, tag in enumerate(tags)
    )
    return write(path, "[paging]", bots + "[paging]")


@pytest.mark.parametrize("prefix", INJECTED.values())
def test_a_tag_that_a_library_writes_for_every_bot_is_refused(path: Path, prefix: str) -> None:
    for length in (1, 4, len(prefix)):
        with pytest.raises(ConfigError, match="cannot tell bots apart: have the bot write"):
            load(tagged(path, prefix[:length]))
        load(tagged(path, prefix[:length], account="ibkr-paper"))
        assert load(tagged(path, f"x{prefix[:length]}")).warnings == []


def test_equal_tags_are_refused_and_tags_that_begin_alike_are_warned_of(path: Path) -> None:
    with pytest.raises(ConfigError, match=r'bots\.bot1\.order_tag: bot0 has the same tag "eth"'):
        load(tagged(path, "eth", "eth"))
    [warning] = load(tagged(path, "ethx", "eth")).warnings
    assert 'the order_tag "ethx" of bot0 begins with "eth", the order_tag of bot1' in warning
    assert load(tagged(path, "eth", "et-h")).warnings == []
    elsewhere = tagged(path, "eth").read_text()
    other = (
        '[[bots]]\nid = "o"\naccount = "ibkr-paper"\norder_tag = "ethx"\ndatabase = "csv:///x"\n'
    )
    path.write_text(elsewhere.replace("[paging]", other + "[paging]"))
    assert load(path).warnings == [], "an order belongs to one account"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "USDT",
            "usdt",
            'accounts.okx-demo.currency: the venue has no currency "usdt": write "USDT"',
        ),
        ('"USD"\nsince = 2026-01-02\ncal', '"usd"\nsince = 2026-01-02\ncal', 'write "USD"'),
        (
            '"USD"\nsince = 2026-01-02\ncal',
            '"DSU"\nsince = 2026-01-02\ncal',
            "no currency of Inter",
        ),
        ("[paging]", "[[paging]]", "paging: there is one of it: write [paging], with one bracket"),
        ("[recon]", "[[recon]]", "recon: there is one of it: write [recon], with one bracket"),
        ('["BTC-USDT-SWAP"]', '"BTC-USDT-SWAP"', 'a list: write instruments = ["BTC-USDT-SWAP"]'),
        (
            '{ file = "secret" }',
            '{ file = "$NOWHERE/x" }',
            "variable NOWHERE is not set: export it",
        ),
        (
            '{ file = "secret" }',
            '{ file = "${CREDENTIALS_DIRECTORY}/x" }',
            "variable CREDENTIALS_DIRECTORY is not set: systemd sets it for a service",
        ),
        ('{ file = "secret" }', '{ env = "NONE" }', "variable NONE is not set: export it"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_one_mistake_is_one_message(
    path: Path,
    command: str,
    old: str,
    new: str,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    options = ["--no-page"] if command == "run" else []
    code = run_cli([command, "--config", str(write(path, old, new)), *options])
    lines = [line for line in capsys.readouterr().err.splitlines() if str(path) in line]
    assert code == ExitCode.USAGE
    assert len(lines) == 1, lines
    assert expected in lines[0]


@pytest.mark.parametrize("table", ["accounts", "bots"])
def test_a_table_in_place_of_a_list_says_so(path: Path, table: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(one_table(path, table))
    assert str(caught.value).splitlines() == [
        f"{path}: {table}: [{table}] is one table, and there may be several: write [[{table}]]"
    ]


@pytest.mark.parametrize("table", ["accounts", "bots"])
def test_two_tables_where_entries_belong_are_told_how_to_begin(table: str, tmp_path: Path) -> None:
    path = tmp_path / "recon.toml"
    path.write_text(f'[{table}]\nid = "a"\n\n[{table}]\nid = "b"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"each begins with \[\[{table}\]\]$"):
        load(path)


def one_table(path: Path, table: str) -> Path:
    """Write a configuration in which one list is a table."""
    accounts, bots = WHOLE.partition("[[bots]]")[::2]
    first = accounts.split("[[accounts]]")[1]
    if table == "accounts":
        path.write_text(f"[accounts]{first}")
    else:
        path.write_text(f"[[accounts]]{first}[bots]{bots}")
    return path


def test_a_secret_that_several_keys_name_is_one_message(path: Path) -> None:
    write(path).write_text(WHOLE.replace('"A_KEY"', '"NONE"'))
    with pytest.raises(ConfigError) as caught:
        load(path)
    [line] = str(caught.value).splitlines()
    for key in ("accounts.okx-demo.api_key", "accounts.ibkr-paper.token", "paging.channels.1.url"):
        assert key in line


def test_a_dollar_in_a_file_s_own_name_is_no_variable(path: Path) -> None:
    odd = path.parent / "my$secret"
    odd.write_text("canary-odd")
    odd.chmod(0o600)
    okx = load(write(path, '{ file = "secret" }', '{ file = "my$secret" }')).accounts[0]
    assert isinstance(okx, OkxAccount)
    assert okx.api_secret.get_secret_value() == "canary-odd"


def test_a_secret_that_others_can_read_is_refused(path: Path) -> None:
    (path.parent / "secret").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load(write(path))


def test_a_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config or RECON_CONFIG"):
        load(tmp_path / "none.toml")


def test_a_secret_can_come_from_the_keyring(path: Path) -> None:
    class Ring(KeyringBackend):
        priority = 1

        def get_password(self, service: str, username: str) -> str | None:
            return {"recon/okx": "canary-ring"}.get(f"{service}/{username}")

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())  # type: ignore[no-untyped-call]
    try:
        config = load(write(path, '{ file = "secret" }', '{ keyring = "recon/okx" }'))
        okx = config.accounts[0]
        assert isinstance(okx, OkxAccount)
        assert okx.api_secret.get_secret_value() == "canary-ring"
        with pytest.raises(ConfigError, match="keyring has no entry 'recon/none'"):
            load(write(path, '{ file = "secret" }', '{ keyring = "recon/none" }'))
    finally:
        keyring.set_keyring(before)


HEAVY = (
    "[name for name in ('ccxt', 'pandas', 'duckdb', 'pyarrow', 'ib_async') if name in sys.modules]"
)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--config", "nowhere.toml"]])
def test_help_and_a_wrong_configuration_import_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; from recon.cli import run_cli; run_cli({arguments!r}); print({HEAVY})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.splitlines()[-1] == "[]"


EXCHANGE = """
[[accounts]]
id = "desk"
venue = "bybit"
currency = "USDT"
since = 2026-03-01
symbols = ["BTC/USDT:USDT"]
api_key = { env = "A_KEY" }
api_secret = { file = "secret" }
"""


def test_any_exchange_that_ccxt_knows_is_a_venue(path: Path) -> None:
    config = load(write(path, "[[bots]]", EXCHANGE + "[[bots]]"))
    desk = config.accounts[-1]
    assert isinstance(desk, CcxtAccount)
    assert (desk.venue, desk.mode, desk.lots, desk.symbols) == (
        "bybit",
        "live",
        "average",
        ("BTC/USDT:USDT",),
    )
    assert "canary" not in repr(config)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            '"bybit"',
            '"bybti"',
            "desk: venue must be .* is 'bybti' meant to be",
        ),
        ('"bybit"', '"Kraken"', "is 'Kraken' meant to be 'kraken'"),
        ('"bybit"', "7", "accounts.desk: venue must be"),
        ('{ file = "secret" }', '"s"', "accounts.desk.api_secret: a secret is never written here"),
        ('symbols = ["BTC/USDT:USDT"]', "symbol = 1", "accounts.desk.symbol: an unknown key"),
    ],
)
def test_an_exchange_that_is_misspelt_is_named(
    path: Path, old: str, new: str, expected: str
) -> None:
    assert old in EXCHANGE
    with pytest.raises(ConfigError, match=expected):
        load(write(path, "[[bots]]", EXCHANGE.replace(old, new) + "[[bots]]"))


def test_exchanges_are_known_without_loading_them() -> None:
    assert exchange_ids() == frozenset(ccxt.exchanges)


def test_a_channel_is_saved_without_the_token_that_only_reads(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("json://127.0.0.1/")
    (tmp_path / "url").chmod(0o600)
    (tmp_path / "recon.toml").write_text(
        "[paging]\n"
        'channels = [{ url = { file = "url" }, api_token = { env = "NOBODY_SET_THIS" } }, 7]\n'
    )
    saved = salvage(tmp_path / "recon.toml")
    assert saved is not None
    [channel] = saved[1].channels
    assert channel.revealed == ("json://127.0.0.1/", None, None)


def test_the_id_of_a_channel_is_a_name_of_its_own_in_both_lists(path: Path) -> None:
    def channels(*ids: str) -> str:
        each = ", ".join(f'{{ id = "{id_}", url = {{ env = "A_KEY" }} }}' for id_ in ids)
        return f"channels = [{each}]\n"

    def paging(first: str, second: str) -> Config:
        new = first + second.replace("channels", "escalation")
        return load(write(path, 'channels = [ { url = { env = "A_KEY" } } ]', new))

    config = paging(channels("ops", "duty"), channels("boss"))
    assert [one.id for one in config.paging.channels] == ["ops", "duty"]
    assert [one.id for one in config.paging.escalation] == ["boss"]
    for first, second, expected in (
        (channels("ops", "ops"), "", "two channels are called 'ops'"),
        (channels("ops"), channels("ops"), "two channels are called 'ops'"),
        (channels("a b"), "", "paging.channels.a b.id: use letters, digits"),
    ):
        with pytest.raises(ConfigError, match=expected):
            paging(first, second)


@pytest.mark.parametrize("ids", [("a b", "ops"), ("ops", "ops"), (7, "ops")])
def test_a_wrong_id_keeps_no_channel_from_paging_that_it_is_wrong(
    tmp_path: Path, ids: tuple[object, ...]
) -> None:
    (tmp_path / "url").write_text("json://127.0.0.1/")
    (tmp_path / "url").chmod(0o600)
    each = ", ".join(f'{{ id = {id_!r}, url = {{ file = "url" }} }}' for id_ in ids)
    (tmp_path / "recon.toml").write_text(f"[paging]\nchannels = [{each}]\n")
    saved = salvage(tmp_path / "recon.toml")
    assert saved is not None
    assert len(saved[1].channels) == len(ids)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"x = " + b"1" * 5000, "x: a number of more than 100 digits (at line 1)"),
        (b"x = 0x" + b"f" * 5000, "x: a whole number beyond 64 bits"),
        (b"a=" + b"{a=" * 3000, "nested deeper than 32 levels"),
        (b"a=" + b"[" * 40 + b"]" * 40, "nested deeper than 32 levels"),
        (b"a." * 40_000 + b"a=1", "a key of more than 32 parts (at line 1)"),
        (b"\xff\xfe[\0r\0", "byte 1 is no UTF-8: save it as UTF-8"),
        (b"[recon]\0", "Expected newline or end of document"),
        (b'x = "\\ud800"', "not valid TOML"),
        (b'x = "\\u0000"', "x: '\\x00' has a control character"),
        (b'"a\\u001b[2J" = 1', "a\\x1b[2J: its name has a control character"),
        ("x = '\u202egnp'".encode(), "has a control character"),
        (b"x = 1e999999999", "is no number, or has too many digits"),
        (b"# " + b"x" * (4 * 1024 * 1024), "longer than 4194304 bytes"),
        (b"[[accounts]]\nid = 'a'\n[[accounts]]\nid = 'a'\nvenue = 7", "accounts.a: venue must be"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run", "schedule"])
def test_a_file_beyond_the_limits_names_itself_and_the_place(
    content: bytes, expected: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recon.toml"
    path.write_bytes(content)
    options = ["--no-page"] if command == "run" else []
    assert run_cli([command, "--config", str(path), *options]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.startswith(f"recon: {path}: ")
    assert expected in said
    assert all(line.isprintable() for line in said.splitlines())


def test_a_byte_order_mark_is_left_out(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + WHOLE.encode())
    assert len(load(path).accounts) == 3


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link to nothing", "loop"])
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "recon.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        target = {"device": "/dev/zero", "loop": str(path)}.get(kind, "nowhere")
        path.symlink_to(target)
    with pytest.raises(ConfigError, match=rf"^{path}: cannot read the configuration \("):
        load(path)
    assert (salvage(path), state_folder(path), address(path)) == (None, None, None)
    assert run_cli(["run", "--no-page", "--config", str(path)]) == ExitCode.USAGE


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"okx"', '{ env = "A" }', "accounts.okx-demo: venue must be"),
        ("2026-03-01", "0001-01-01", "accounts.okx-demo.since: 0001-01-01 is out of range: write"),
        ("2026-03-01", "9999-12-31", "since: 9999-12-31 is out of range"),
        ("2026-03-01", "2026-03-01T00:00:00", "since: 2026-03-01 00:00:00 is no date"),
        ("2026-03-01", "20260301", "since: 20260301 is no date"),
        ("period_s = 60", "period_s = true", "heartbeat.period_s: Input should be a valid integer"),
        ("tolerance_pct = 0.5", "tolerance_pct = nan", "recon.tolerance_pct: NaN is not a number"),
        ("tolerance_pct = 0.5", "tolerance_pct = inf", "tolerance_pct: Infinity is not a number"),
        ("tolerance_pct = 0.5", "tolerance_pct = true", "tolerance_pct: True is not a number"),
        ("tolerance_pct = 0.5", "tolerance_pct = -1", "tolerance_pct: Input should be greater"),
        ('"1.00"', '"1e999999999"', "tolerance_abs: '1e999999999' is not a number"),
        ('"1.00"', '"1000000000000000"', "tolerance_abs: use a number below 10^15"),
        (
            'calendar = "XNYS"',
            'calendar = "XXXX"',
            'ibkr-paper.calendar: calendar = "XXXX" is unknown',
        ),
        ('state = "state"', f'state = "{"x" * 300}"', "recon.state: 'xxx"),
        ('{ env = "A_KEY" }', '{ env = "" }', "env = '' names no secret"),
        ('{ env = "A_KEY" }', '{ env = "A=B" }', "env = 'A=B' names no secret"),
        ('{ file = "secret" }', '{ file = "." }', "(a folder): write the secret there"),
        ('id = "btc-quantum"', 'id = ".."', "bots....id: use letters"),
        ("sqlite:///vaults/btc-quantum.sqlite", "sqlite:///a%00b", "has a control character"),
        ("sqlite:///vaults/btc-quantum.sqlite", "postgresql://[a/b", "is no URL"),
        ('mapping = "freqtrade"', 'mapping = ""', "bots.btc-quantum.mapping: String should have"),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_key(
    path: Path, old: str, new: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(path, old, new))
    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "url", ["bot@host/db", "host:5432/db", "[::1]:5432/db", "one:1,two/db", "/db?host=/run&port=1"]
)
def test_a_database_s_url_is_taken_as_libpq_takes_it(path: Path, url: str) -> None:
    whole = f"postgresql://{url}"
    config = load(write(path, "sqlite:///vaults/btc-quantum.sqlite", whole))
    assert config.bots[0].database == whole


def test_a_defect_of_a_check_is_the_file_s_error_and_shows_its_place(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(frozenset[str]):
        def __contains__(self, name: object) -> bool:
            raise KeyError(name)

    with caplog.at_level("INFO"), pytest.raises(ConfigError, match=r"cannot be checked \(KeyError"):
        load(write(path), with_secrets=Odd())
    assert "Traceback" in caplog.text


def test_no_exchange_of_ccxt_s_is_asked_in_the_clear() -> None:
    """The addresses that ccxt itself knows all have TLS: `base_url` alone can be plain."""
    plain = [
        (name, address)
        for name in ccxt.exchanges
        for address in addresses(getattr(ccxt, name)().urls.get("api"))
        if not address.startswith(("https://", "wss://"))
    ]
    assert [one for one in plain if "://" in one[1]] == []


def addresses(urls: object) -> list[str]:
    if isinstance(urls, dict):
        return [one for each in urls.values() for one in addresses(each)]
    return [urls] if isinstance(urls, str) else []
