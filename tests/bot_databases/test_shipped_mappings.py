"""Properties of every shipped mapping: it fits only its own bot, and names its biases."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest

from recon.bot_databases.mapping_queries import ANSWERS
from recon.bot_databases.mappings import CAUSES, Schema, biases, find_mapping
from recon.bot_databases.run_mapping import read_books, unpack
from recon.errors import BotDatabaseError, ConfigError
from recon.system.resources import sql_root
from tests.bot_databases.test_jesse import written as jesse_written
from tests.bot_databases.test_octobot import trade, transaction
from tests.bot_databases.test_passivbot import fill
from tests.support.bots import (
    GO_TRADER,
    HUMMINGBOT,
    HUMMINGBOT_2020,
    Item,
    database,
    json_snapshot,
    sqlite_snapshot,
)
from tests.support.freqtrade import ERAS, write
from tests.support.servers.postgres import PostgresServer

BOOKS = sql_root() / "mappings"
SHIPPED = sorted(folder.name for folder in BOOKS.iterdir())
VARIANTS = [(name, one.folder) for name in SHIPPED for one in find_mapping(name, Path()).variants]


def of_json(folder: Path, **files: object) -> list[Item]:
    for name, held in files.items():
        (folder / f"{name}.json").write_text(json.dumps(held))
    return json_snapshot(folder)


def freqtrade(era: str) -> Callable[[Path], list[Item]]:
    trades, orders = ERAS[era]
    return lambda folder: sqlite_snapshot(write(folder / "bot.sqlite", trades, [], orders))


def of_sqlite(schema: str) -> Callable[[Path], list[Item]]:
    return lambda folder: sqlite_snapshot(database(folder / "bot.sqlite", schema))


BOTS: dict[str, tuple[str, Callable[[Path], list[Item]]]] = {
    "freqtrade 2019": ("freqtrade/without_shorts/no_orders", freqtrade("no_orders")),
    "freqtrade 2021": ("freqtrade/without_shorts/spot", freqtrade("spot")),
    "freqtrade 2022": ("freqtrade/with_shorts/leveraged", freqtrade("leveraged")),
    "freqtrade today": ("freqtrade/with_shorts/today", freqtrade("today")),
    "hummingbot": ("hummingbot", of_sqlite(HUMMINGBOT)),
    "hummingbot 2020": ("hummingbot", of_sqlite(HUMMINGBOT_2020)),
    "jesse": ("jesse", lambda _folder: []),  # on a server
    "go-trader": ("go-trader", of_sqlite(GO_TRADER)),
    "octobot": (
        "octobot/trades",
        lambda folder: of_json(folder, trades={"all_trades": {"1": trade("1", "buy", 1, 1)}}),
    ),
    "octobot with transactions": (
        "octobot/transactions",
        lambda folder: of_json(
            folder,
            trades={"all_trades": {"1": trade("1", "buy", 1, 1)}},
            transactions={"all_transactions": {"1": transaction("1", 1.5)}},
        ),
    ),
    "passivbot": (
        "passivbot",
        lambda folder: of_json(
            folder, **{"2026-05-14": [fill("1", "buy", 0, 0)], "metadata": {"known_gaps": []}}
        ),
    ),
}


def schema_of(name: str, folder: Path, server: PostgresServer) -> Schema:
    return unpack(items_of(name, folder, server))[0]


def items_of(name: str, folder: Path, server: PostgresServer) -> list[Item]:
    return jesse_written(server) if name == "jesse" else BOTS[name][1](folder)


@pytest.mark.parametrize("name", BOTS)
def test_auto_recognises_it_by_its_columns(
    name: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    items = items_of(name, tmp_path, postgres)
    answers = read_books(find_mapping("auto", tmp_path), *unpack(items))
    assert answers.variant == BOOKS / BOTS[name][0]
    assert answers.trades.schema == ANSWERS["trades"]


OF_TWO_BOTS = [
    (one, other)
    for one, other in permutations(BOTS, 2)
    if BOTS[one][0].partition("/")[0] != BOTS[other][0].partition("/")[0]
]


@pytest.mark.parametrize(("one", "other"), OF_TWO_BOTS)
def test_no_mapping_fits_the_database_of_another_bot(
    one: str, other: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    mapping = BOTS[one][0].partition("/")[0]
    with pytest.raises(BotDatabaseError, match="does not fit this database"):
        find_mapping(mapping, tmp_path).choose(schema_of(other, tmp_path, postgres))


def test_every_variant_is_one_of_a_bot_here() -> None:
    kept = {BOOKS / folder for folder, _ in BOTS.values()}
    assert {folder for _, folder in VARIANTS} == kept


def test_nothing_is_read_but_what_a_query_names(tmp_path: Path) -> None:
    auto = find_mapping("auto", tmp_path)
    assert auto.reads("TradeFill")
    assert auto.reads("order")
    # Words of the comments, and parts of names.
    assert [
        one for one in ("key", "trade", "fill", "grain", "bot", "api_keys") if auto.reads(one)
    ] == []
    (tmp_path / "trades.sql").write_text('select * from BOT . "my ""trades" -- the key, bot_keys')
    own = find_mapping(".", tmp_path)
    assert own.reads('MY "trades')
    assert not own.reads("bot_keys")


@pytest.mark.parametrize("path", sorted(BOOKS.rglob("*.sql")), ids=str)
def test_its_header_says_grain_and_key(path: Path) -> None:
    header = path.read_text(encoding="utf-8").partition("\nwith ")[0]
    assert "\n-- Grain: one row " in header
    assert " Key: " in header
    if path.name == "trades.sql":
        assert "\n-- requires: " in header


@pytest.mark.parametrize("name", SHIPPED)
def test_it_says_how_its_bot_is_wrong(name: str) -> None:
    found = biases(name)
    assert found
    assert found.keys() <= CAUSES
    assert all(says and says[-1] != "." for says in found.values())
    for variant in find_mapping(name, Path()).variants:
        assert variant.biases() == found


@pytest.mark.parametrize("text", ["", "-- requires: trades(id)\n", "/* nothing */ ;\n", "\0"])
def test_a_file_without_a_query_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "trades.sql").write_text(text)
    with pytest.raises(ConfigError, match=r"trades\.sql holds no query: write one select"):
        find_mapping(".", tmp_path)


class TestBiases:
    def test_a_mapping_of_ones_own_may_have_them(self, tmp_path: Path) -> None:
        (tmp_path / "mine" / "old").mkdir(parents=True)
        (tmp_path / "mine" / "old" / "trades.sql").write_text("select 1")
        assert biases("mine", tmp_path) == {}
        text = 'cause,says\nfee_missing,"none, ever"\n'
        (tmp_path / "mine" / "biases.csv").write_text(text)
        assert biases("mine", tmp_path) == {"fee_missing": "none, ever"}
        (variant,) = find_mapping("mine", tmp_path).variants
        assert variant.biases() == biases("mine", tmp_path)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "begin it with `cause,says`"),
            ("fee_missing,x\n", "begin it with `cause,says`"),
            ("cause,says\nfee_missing\n", "fill both in each row"),
            ("cause,says\nfees,x\n", "'fees' is not a cause: use one of adopted, "),
            ("cause,says\nprice,x\nprice,y\n", "name each cause once"),
        ],
    )
    def test_a_file_that_is_none_is_refused(self, text: str, said: str, tmp_path: Path) -> None:
        (tmp_path / "biases.csv").write_text(text)
        with pytest.raises(ConfigError, match=said):
            biases(".", tmp_path)


class TestOptional:
    def test_what_is_not_there_is_null_and_a_table_without_rows(self, tmp_path: Path) -> None:
        (tmp_path / "trades.sql").write_text(
            "-- requires: rows(id)\n-- optional: rows(note, ID); gone(a)\n"
            "select id as trade_id, note as instrument, 'long' as side, 1 as qty,"
            " null as opened_at, timestamp '2026-05-14' as closed_at, null as entry_price,"
            " null as exit_price, null as gross, null as fee, null as funding, 1 as pnl,"
            " null as order_ids from bot.rows where not exists (select a from bot.gone)"
        )
        items = of_json(tmp_path, **{"2026": [{"id": "7"}]})
        answers = read_books(find_mapping(".", tmp_path), *unpack(items))
        (row,) = answers.trades.to_pylist()
        assert (row["trade_id"], row["instrument"]) == ("7", None)

    def test_a_garbled_header_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "trades.sql").write_text("-- optional: trades\nselect 1")
        with pytest.raises(ConfigError, match="write `-- optional: table"):
            find_mapping(".", tmp_path)


@pytest.mark.parametrize("name", ["trades.sql", "biases.csv"])
@pytest.mark.parametrize("kind", ["pipe", "bytes", "huge", "folder"])
def test_a_file_of_a_mapping_that_is_none_is_named(name: str, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "trades.sql").write_text("select 1")
    (folder / name).unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(folder / name)
        case "bytes":
            (folder / name).write_bytes(b"\xff")
        case "huge":
            (folder / name).write_bytes(b" " * (1024 * 1024 + 1))
        case _:
            (folder / name).mkdir()
    read = biases if name == "biases.csv" else find_mapping
    with pytest.raises(ConfigError, match="mine"):
        read("mine", tmp_path)


def test_a_folder_that_holds_too_much_is_no_mapping(tmp_path: Path) -> None:
    for number in range(1001):
        (tmp_path / str(number)).touch()
    (tmp_path / "trades.sql").write_text("select 1")
    with pytest.raises(ConfigError, match="more than 1000 files: name the folder that holds only"):
        find_mapping(".", tmp_path)
    with pytest.raises(ConfigError, match="more than 1000 files"):
        find_mapping("/", tmp_path)
