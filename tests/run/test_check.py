from __future__ import annotations

import json
import socket
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recon.cli import run_cli
from recon.demo.venues.okx_account import OkxAccount, Profile
from recon.demo.venues.okx_faults import Fault
from recon.demo.venues.okx_server import OkxServer
from recon.errors import ExitCode
from tests.support.fleet import NOW, OPENING, Desk, Trader, account, serving, write_folder
from tests.support.servers.postgres import PASSWORD, PostgresServer
from tests.support.watching import beat, configured

RECENT = datetime.now(UTC).date() - timedelta(days=30)
"""A day of which OKX still serves everything, whenever these tests run."""


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    code = run_cli(["check", "--json", "--config", str(path)])
    items = json.loads(capsys.readouterr().out)["checks"]
    return code, {item["subject"]: item for item in items}


def folder_of(folder: Path, server: OkxServer, *bots: Trader, more: str = "") -> Path:
    path = write_folder(folder, [(Desk(since=RECENT), server)], bots, "")
    path.write_text(path.read_text() + more)
    return path


def test_all_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bot = Trader(claims=[(OPENING, "1.5"), (NOW, "2")])
    book = OkxAccount(now=lambda: NOW, profile=Profile(ip=""))
    with serving(book) as server:
        code, items = check(folder_of(tmp_path, server, bot), capsys)
    assert code == ExitCode.AGREED
    assert items["account okx"]["detail"] == "reached; the key can read, and nothing else"
    assert items["account okx"]["notes"] == ["the key has no address allow-list: add one at OKX"]
    assert items["bot btc"]["detail"].startswith("2 closed trades")
    assert items["paging"]["notes"]
    assert not (tmp_path / "state" / "warehouse.duckdb").exists()


def test_a_secret_that_could_be_a_word_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(account(), passphrase="hunter") as server:
        code, items = check(folder_of(tmp_path, server), capsys)
    assert code == ExitCode.AGREED
    [note] = items["secrets"]["notes"]
    assert note.startswith("accounts.okx.passphrase has 6 characters: recon replaces it")
    assert "16 characters" in items["secrets"]["remedy"]


@pytest.mark.parametrize(
    ("mapping", "schema", "says"),
    [
        (
            "auto",
            ["closed_trades (pnl real)"],
            (
                "holds table closed_trades, which no shipped mapping knows: "
                "recon mapping new FOLDER --bot BOT"
            ),
        ),
        ("auto", ["deals (pnl real)", "notes (a text)"], "holds tables deals, notes, which no"),
        ("auto", ["trades (pnl real)"], "no shipped mapping fits this database (tables: trades)"),
        ("auto", [], "holds no table"),
        ("jesse", ["closed_trades (pnl real)"], "which mapping jesse does not read"),
    ],
)
def test_books_that_no_mapping_knows_are_named(
    mapping: str,
    schema: list[str],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bot = Trader(claims=None, mapping=mapping)
    (tmp_path / "vaults").mkdir()
    with closing(sqlite3.connect(tmp_path / "vaults" / "btc.sqlite")) as vault:
        for table in ["gone (a)", *schema]:
            vault.execute(f"create table {table}")
        vault.execute("drop table gone")
    with serving(account()) as server:
        code, items = check(folder_of(tmp_path, server, bot), capsys)
    assert code == ExitCode.UNPROVEN
    assert says in items["bot btc"]["detail"]


@pytest.mark.parametrize("perm", ["read_only,trade", "read_only,withdraw", "trade", ""])
def test_a_key_that_can_do_more_is_refused(
    perm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = OkxAccount(now=lambda: NOW, profile=Profile(perm=perm))
    with serving(book) as server:
        code, items = check(folder_of(tmp_path, server), capsys)
        assert {seen.path.rpartition("/v5/")[2] for seen in server.requests} == {"account/config"}
    assert code == ExitCode.UNPROVEN
    assert "only exactly 'read_only' is accepted" in items["account okx"]["detail"]
    assert items["account okx"]["remedy"] == "make a key with only the Read permission"


def test_a_venue_that_says_no_is_quoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(account()) as server:
        server.fault("account/config", Fault("code_50119", times=None))
        code, items = check(folder_of(tmp_path, server), capsys)
    assert code == ExitCode.UNPROVEN
    assert "50119" in items["account okx"]["detail"]
    assert "region" in items["account okx"]["remedy"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("sqlite:///vaults/btc.sqlite", "sqlite:///vaults/typo.sqlite", "typo.sqlite"),
        ("sqlite:///vaults/btc.sqlite", "mysql://host/db", 'database: use "sqlite:///path"'),
        ("sqlite:///vaults/btc.sqlite", "csv:///vaults/*.csv", "vaults/*.csv matches no file"),
        ("sqlite:///vaults/btc.sqlite", "json:///recon.toml", "is not complete JSON"),
        ('mapping = "mapping"', 'mapping = "nonesuch"', "neither shipped nor a folder"),
        ('mapping = "mapping"', 'mapping = "freqtrade"', "does not fit this database"),
    ],
)
def test_books_that_cannot_be_read_say_so(
    old: str, new: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(account()) as server:
        path = folder_of(tmp_path, server, Trader(claims=[(OPENING, "1")]))
        path.write_text(path.read_text().replace(old, new))
        code, items = check(path, capsys)
    assert code == ExitCode.UNPROVEN
    assert not items["bot btc"]["ok"]
    assert expected in items["bot btc"]["detail"]
    assert not (tmp_path / "vaults" / "typo.sqlite").exists()


@pytest.mark.parametrize(
    ("url", "name", "content"),
    [
        ("csv:///vaults", "trades.csv", "id,closed,pnl\n1,2026-05-14 10:00:00,1.50\n"),
        ("csv:///vaults/b-*.csv#trades", "b-1.csv", "id;closed;pnl\n1;2026-05-14 10:00:00;1.5\n"),
        (
            "json:///vaults/bot.json",
            "bot.json",
            '{"trades": {"1": {"id": 1, "closed": "2026-05-14 10:00:00", "pnl": 1.5}}}',
        ),
    ],
)
def test_books_in_files_are_read(
    url: str, name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(account()) as server:
        path = folder_of(tmp_path, server, Trader(claims=None, database=url))
        (tmp_path / "vaults").mkdir()
        (tmp_path / "vaults" / name).write_text(content)
        code, items = check(path, capsys)
    assert items["bot btc"]["detail"].startswith("1 closed trades")
    assert code == ExitCode.AGREED


def test_books_on_a_server_are_read_with_a_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], postgres: PostgresServer
) -> None:
    database = postgres.database(
        "create table trades (id int primary key, closed timestamp, pnl numeric)",
        "insert into trades values (1, '2026-05-14 10:00', 1.50)",
        "create table bot_keys (secret text)",
    )
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)
    with serving(account()) as server:
        more = 'database_password = { file = "password" }\n'
        bot = Trader(claims=None, database=postgres.url(database), more=more)
        path = folder_of(tmp_path, server, bot)
        code, items = check(path, capsys)
        assert items["bot btc"]["detail"].startswith("1 closed trades")
        assert code == ExitCode.AGREED
        (tmp_path / "password").write_text("canary")
        code, items = check(path, capsys)
    assert code == ExitCode.UNPROVEN
    assert "password authentication failed" in items["bot btc"]["detail"]
    assert "canary" not in json.dumps(items)


def test_channels_are_looked_at_and_their_secrets_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, url in (("good", "json://user:canary@127.0.0.1/"), ("bad", "tgarm://canary/1")):
        (tmp_path / name).write_text(url)
        (tmp_path / name).chmod(0o600)
    more = '[paging]\nchannels = [{ url = { file = "good" } }, { url = { file = "bad" } }]\n'
    with serving(account()) as server:
        code, items = check(folder_of(tmp_path, server, more=more), capsys)
    assert code == ExitCode.UNPROVEN
    assert items["channel webhook 1"]["ok"]
    assert "no channel like tgarm://" in items["paging.channels.2"]["detail"]
    assert "canary" not in json.dumps(items)


@pytest.mark.parametrize(
    ("age_s", "bar_age_s", "expected", "is_ok"),
    [
        (None, None, "there is no file btc.json", False),
        (20, 30, "s old; its last bar is from ", True),
        (20, None, "s old; it names no bar", True),
        (200, 30, "frozen: its main loop has not turned since", False),
        (-200, 30, "clock_ahead: its at is", False),
        (20, 7200, "no_bars: its main loop turns, but its last bar is of", False),
    ],
)
def test_each_heartbeat_is_read_and_its_age_told(
    *,
    age_s: int | None,
    bar_age_s: int | None,
    expected: str,
    is_ok: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = 'bar_s = 60\nheartbeat = { file = "btc.json", period_s = 60 }\n'
    now = datetime.now(UTC)
    if age_s is not None:
        bar = None if bar_age_s is None else now - timedelta(seconds=bar_age_s)
        beat(tmp_path / "btc.json", 7, now - timedelta(seconds=age_s), bar)
    with serving(account()) as server:
        code, items = check(folder_of(tmp_path, server, Trader(more=more)), capsys)
    item = items["heartbeat of btc"]
    assert expected in item["detail"]
    assert item["ok"] is is_ok
    assert bool(item["remedy"]) is not is_ok
    assert code == (ExitCode.AGREED if is_ok else ExitCode.UNPROVEN)


def test_the_switch_s_host_is_reached_and_nothing_is_pinged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path(configured(tmp_path).path)
    (tmp_path / "ping").touch(mode=0o600)
    settings = '[recon]\nping = { file = "ping" }\n'
    config.write_text(settings + readable(config.read_text()))
    with socket.create_server(("127.0.0.1", 0)) as host:
        url = f"http://127.0.0.1:{host.getsockname()[1]}/canary"
        (tmp_path / "ping").write_text(url)
        _, items = check(config, capsys)
        taken, _ = host.accept()
        with taken:
            taken.settimeout(5)
            assert taken.recv(100) == b"", "it was connected to, and told nothing"
    assert (items["ping"]["ok"], items["ping"]["detail"]) == (True, "its host can be reached")
    assert "no ping was sent" in items["ping"]["notes"][0]
    _, gone = check(config, capsys)
    assert gone["ping"]["detail"] == "its host cannot be reached: Connection refused"
    assert not gone["ping"]["ok"]
    assert "canary" not in json.dumps([items, gone])
    config.write_text(config.read_text().replace(settings, ""))
    _, none = check(config, capsys)
    assert none["ping"]["ok"]
    assert "nobody notices if this machine is off" in none["ping"]["notes"][0]


def test_markets_and_opens_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path(configured(tmp_path).path)
    text = readable(config.read_text())
    config.write_text(text)
    _, items = check(config, capsys)
    calendar = items["calendar XNYS"]
    assert calendar["ok"]
    until = date.fromisoformat(calendar["detail"].rpartition(" ")[2])
    assert until > datetime.now(UTC).date() + timedelta(days=300)
    assert items["schedule"]["ok"]
    assert "11:00 UTC is in time for every open" in items["schedule"]["detail"]
    assert items["schedule"]["notes"] == []
    london = 'venue = "ibkr-flex"\ncalendar = "XLON"'
    config.write_text(text.replace('venue = "ibkr-flex"', london))
    _, items = check(config, capsys)
    assert items["calendar XLON"]["ok"]
    assert items["schedule"]["ok"]
    assert "the run is too late for" in items["schedule"]["notes"][0]


def readable(text: str) -> str:
    """Return a configuration without the account whose secrets nobody set."""
    return "[[accounts]]" + text.split("[[accounts]]")[2]


@pytest.mark.parametrize(
    ("since", "is_ok", "said"),
    [
        (RECENT, True, str(RECENT)),
        (date(2019, 1, 1), False, "the first possible date is"),
        (datetime.now(UTC).date() + timedelta(days=9), False, "is in the future"),
    ],
)
def test_a_since_that_cannot_be_had_names_the_first_that_can(
    *, since: date, is_ok: bool, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(account()) as server:
        path = folder_of(tmp_path, server)
        path.write_text(path.read_text().replace(f"since = {RECENT}", f"since = {since}"))
        code, items = check(path, capsys)
        assert items["since of okx"]["ok"] is is_ok
        assert said in items["since of okx"]["detail"]
        assert code == (ExitCode.AGREED if is_ok else ExitCode.UNPROVEN)
        if "first possible" not in said:
            return
        first = items["since of okx"]["detail"].rpartition(" ")[2]
        path.write_text(path.read_text().replace(f"since = {since}", f"since = {first}"))
        code, items = check(path, capsys)
    assert items["since of okx"]["ok"]


def test_a_run_refuses_a_since_in_the_future(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(account()) as server:
        path = folder_of(tmp_path, server)
        path.write_text(path.read_text().replace(f"since = {RECENT}", "since = 2199-01-04"))
        code = run_cli(["run", "--no-page", "--config", str(path)])
    assert code == ExitCode.USAGE
    assert "accounts.okx.since: 2199-01-04 is in the future" in capsys.readouterr().err


def test_a_currency_that_the_venue_does_not_have_names_the_one_that_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(account()) as server:
        path = folder_of(tmp_path, server)
        path.write_text(path.read_text().replace('currency = "USDT"', 'currency = "UDST"'))
        code, items = check(path, capsys)
    assert code == ExitCode.UNPROVEN
    assert items["currency of okx"]["detail"].endswith('okx has no currency "UDST"')
    assert items["currency of okx"]["remedy"] == "write USDT"


def test_tags_that_begin_alike_are_warned_of_by_check_and_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bots = [Trader(name, instruments=(), order_tag=name) for name in ("eth", "ethx")]
    said = 'the order_tag "ethx" of ethx begins with "eth", the order_tag of eth'
    with serving(account()) as server:
        path = folder_of(tmp_path, server, *bots)
        code, items = check(path, capsys)
        assert code == ExitCode.AGREED
        assert said in items["order tags"]["detail"]
        run_cli(["run", "--no-page", "--json", "--config", str(path)])
    assert f"warning: {said}" in capsys.readouterr().err
