"""A mapping to begin with: it says what the books hold, runs as it is, and lacks what is needed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from recon.bot_databases.mapping_queries import ANSWERS
from recon.bot_databases.mappings import find_mapping
from recon.bot_databases.run_mapping import read_books, unpack
from recon.cli import run_cli
from recon.errors import ExitCode
from tests.run.test_check import check, folder_of
from tests.support.bots import sqlite_snapshot
from tests.support.fleet import OPENING, Trader, account, serving
from tests.support.servers.postgres import PostgresServer

HOSTILE = 'order"\n; drop table x; --'


def vault(folder: Path, *statements: str) -> Path:
    path = folder / "vault.sqlite"
    with closing(sqlite3.connect(path)) as bot:
        for statement in statements:
            bot.execute(statement)
        bot.commit()
    return path


def new(*arguments: object, code: ExitCode = ExitCode.AGREED) -> None:
    assert run_cli(["mapping", "new", *map(str, arguments)]) == code


def test_it_says_what_the_books_hold_and_runs_as_it_is(tmp_path: Path) -> None:
    quoted = HOSTILE.replace('"', '""')
    path = vault(
        tmp_path,
        "create table notes (a text)",
        "create table Closed_Trades (id integer primary key, profit real, side text)",
        "insert into Closed_Trades values (1, 1.5, 'long'), (2, -0.125, 'short')",
        f'create table "{quoted}" ("x\ny" int)',
    )
    new(tmp_path / "mine" / "deep", "--books", f"sqlite:///{path}")
    folder = tmp_path / "mine" / "deep"
    assert {one.name for one in folder.iterdir()} == {f"{query}.sql" for query in ANSWERS}
    texts = {query: (folder / f"{query}.sql").read_text() for query in ANSWERS}
    for query, text in texts.items():
        assert "bot.Closed_Trades, 2 rows: id BIGINT, profit DECIMAL(38,3), side VARCHAR" in text
        assert "bot.notes, 0 rows: a VARCHAR" in text
        assert all(name in text for name in ANSWERS[query].names)
        assert max(map(len, text.splitlines())) <= 100
    assert texts["trades"].rstrip().endswith("from bot.Closed_Trades;")
    answers = read_books(find_mapping(str(folder), tmp_path), *unpack(sqlite_snapshot(path)))
    assert answers.trades.num_rows == 2
    assert {one.reason for one in answers.problems if one.query == "trades"} >= {
        "trade_id is null",
        "instrument is null",
        "closed_at is null",
        "pnl is null",
    }


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = vault(tmp_path, "create table t (a)")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "positions.sql").write_text("mine")
    new(tmp_path / "mine", "--books", f"sqlite:///{path}", code=ExitCode.USAGE)
    assert "positions.sql exists already" in capsys.readouterr().err
    assert [one.read_text() for one in (tmp_path / "mine").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], ExitCode.USAGE, "by either --bot ID or --books URL"),
        (["--bot", "b", "--books", "u"], ExitCode.USAGE, "by either --bot ID or --books URL"),
        (["--books", "mysql://x"], ExitCode.USAGE, 'use "sqlite:///path"'),
        (["--books", "sqlite:////none.sqlite"], ExitCode.UNPROVEN, "does not exist"),
    ],
)
def test_what_cannot_be_read_leaves_nothing(
    arguments: list[str],
    code: ExitCode,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    new(tmp_path / "mine", *arguments, code=code)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_of_a_configured_bot_until_check_is_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(account()) as server:
        path = folder_of(tmp_path, server, Trader(claims=[(OPENING, "1.5"), (OPENING, "2")]))
        path.write_text(path.read_text().replace('mapping = "mapping"', 'mapping = "mine"'))
        mine = tmp_path / "mine"
        new(mine, "--bot", "nobody", "--config", path, code=ExitCode.USAGE)
        assert "use one of btc" in capsys.readouterr().err
        new(mine, "--bot", "btc", "--config", path, "--json")
        assert json.loads(capsys.readouterr().out)["written"] == [
            str(mine / f"{query}.sql") for query in ANSWERS
        ]
        _, items = check(path, capsys)
        assert "pnl is null in 2 of trades.sql (the first: None)" in items["bot btc"]["detail"]
        for query in ("fills", "positions"):
            (mine / f"{query}.sql").unlink()
        text = (mine / "trades.sql").read_text()
        for column, said in {
            "trade_id": "id::varchar",
            "instrument": "'X'",
            "side": "'long'",
            "pnl": "pnl",
            "closed_at": "closed",
        }.items():
            text = text.replace(f"  null as {column},", f"  {said} as {column},")
        (mine / "trades.sql").write_text(text)
        code, items = check(path, capsys)
    assert code == ExitCode.AGREED
    assert items["bot btc"]["detail"] == "2 closed trades, read by mine"
    unknown, *missing = items["bot btc"]["notes"]
    assert unknown.startswith("trades.sql returns only null for qty, opened_at, entry_price,")
    assert missing == [
        "the mapping has no fills.sql: the bot's fills are not compared",
        "the mapping has no positions.sql: the bot's positions are not compared",
    ]


def test_of_a_server(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.url(postgres.database('create table "order" (qty numeric)'), "postgres")
    new(tmp_path / "mine", "--books", url)
    assert (tmp_path / "mine" / "fills.sql").read_text().rstrip().endswith("from bot.order;")
