from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recon.cli import run_cli
from recon.demo.okx_account import OkxAccount, Profile
from recon.demo.okx_faults import Fault
from recon.demo.okx_server import OkxServer
from recon.errors import ExitCode
from tests.fleet import NOW, OPENING, Desk, Trader, account, serving, write_folder
from tests.servers.postgres import PASSWORD, PostgresServer


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    code = run_cli(["check", "--json", "--config", str(path)])
    items = json.loads(capsys.readouterr().out)["checks"]
    return code, {item["subject"]: item for item in items}


def folder_of(folder: Path, server: OkxServer, *bots: Trader, more: str = "") -> Path:
    path = write_folder(folder, [(Desk(), server)], bots, "")
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
    assert items["account okx"]["remedy"] == "make a key with the Read permission alone"


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
        ("sqlite:///vaults/btc.sqlite", "mysql://host/db", 'books: use "sqlite:///path"'),
        ("sqlite:///vaults/btc.sqlite", "csv:///vaults/*.csv", "vaults/*.csv matches no file"),
        ("sqlite:///vaults/btc.sqlite", "json:///recon.toml", "is not whole JSON"),
        ('mapping = "mapping"', 'mapping = "nonesuch"', "neither shipped nor a folder"),
        ('mapping = "mapping"', 'mapping = "freqtrade"', "does not fit these books"),
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
        path = folder_of(tmp_path, server, Trader(claims=None, books=url))
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
        more = 'books_password = { file = "password" }\n'
        bot = Trader(claims=None, books=postgres.url(database), more=more)
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
    assert items["channel 1"]["ok"]
    assert "no channel like tgarm://" in items["channel 2"]["detail"]
    assert "canary" not in json.dumps(items)
