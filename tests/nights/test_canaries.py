"""Fourteen secrets, a world that repeats them in every encoding, and a search of all that is left.

Venues, channels, a heartbeat, a switch, PostgreSQL and Redis are one hostile service. What it says
must be in no output, no file of the state and no list of processes.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from recon.demo.venues.background import in_background
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_server import OkxServer
from tests.support.encodings import encodings
from tests.support.fleet import BTC, ETH, WHOLE_MAPPING, write_trades
from tests.support.servers.echoing import Echo, echoing

ROOT = Path(__file__).parents[2]
CANARIES = {
    "OKX_KEY": "CNRY01-key-8f2a",
    "OKX_SECRET": "CNRY02secretB7D1E9",
    "OKX_PASSPHRASE": "CNRY03 pa\"ss'\\w/or&d<+%=",
    "KRAKEN_KEY": "CNRY04key1234567890+/abc",
    "KRAKEN_SECRET": "CNRY05secret67890/+==",
    "FLEX_TOKEN": "918273645546372819000006",
    "BOOKS_PASSWORD": "CNRY07 bök's",
    "BEAT_PASSWORD": "CNRY08beat",
    "REDIS_PASSWORD": "CNRY09redis",
    "WEBHOOK_TOKEN": "CNRY10webhook4f5e6d",
    "TELEGRAM_TOKEN": "123456711:CNRY11telegram_qzkwmvtrgjhx4729",
    "PAGERDUTY_KEY": "cnry12pagerdutyabcdef0123456789ab",
    "PAGERDUTY_TOKEN": "CNRY13apitoken_xyz",
    "PING_ID": "cnry14aa-1111-2222-3333-444455556666",
}
PART = re.compile(r"(?=[0-9]*[A-Za-z])[A-Za-z0-9]{6,}")
"""What of a canary is found where only a part of it is left. A Telegram bot's number is public."""
MODES = (
    "refused",
    "busy",
    "html",
    "redirect",
    "not_whole",
    "status_line",
    "chunks",
    "cut_off",
    "headers",
    "flex_error",
    "tls",
    "row",
)
COMMANDS = (
    ["check"],
    ["run"],
    ["backfill"],
    ["watch", "--once"],
    ["page", "send"],
    ["page", "test"],
    ["explain", "vault"],
    ["explain", "vault", "--json"],
    ["run", "--no-fetch", "--json"],
)

CONFIG = """
[recon]
ping = { env = "PING" }
[[accounts]]
id = "okx"
venue = "okx"
mode = "demo"
currency = "USDT"
since = SINCE
base_url = "BASE"
api_key = { env = "OKX_KEY" }
api_secret = { env = "OKX_SECRET" }
passphrase = { env = "OKX_PASSPHRASE" }
[[accounts]]
id = "kraken"
venue = "kraken"
currency = "USD"
since = SINCE
base_url = "BASE"
api_key = { env = "KRAKEN_KEY" }
api_secret = { env = "KRAKEN_SECRET" }
[[accounts]]
id = "flex"
venue = "ibkr-flex"
currency = "USD"
since = SINCE
query_id = "1"
base_url = "BASE"
token = { env = "FLEX_TOKEN" }
[[bots]]
id = "vault"
account = "okx"
instruments = ["BTC-USDT-SWAP"]
mapping = "mapping"
database = "sqlite:///vault.sqlite"
heartbeat = { url = { env = "BEAT" } }
[[bots]]
id = "remote"
account = "okx"
instruments = ["ETH-USDT-SWAP"]
mapping = "mapping"
database = "postgresql://reader@127.0.0.1:PORT/bot"
database_password = { env = "BOOKS_PASSWORD" }
heartbeat = { redis = { env = "REDIS" }, key = "beat" }
[[paging.channels]]
url = { env = "WEBHOOK" }
[[paging.channels]]
url = { env = "FORM" }
[[paging.channels]]
url = { env = "TELEGRAM" }
base_url = "BASE"
[[paging.channels]]
url = { env = "PAGERDUTY" }
base_url = "BASE"
api_token = { env = "PAGERDUTY_TOKEN" }
"""
"""`SINCE`, `BASE` and `PORT` are filled in."""


class Desk(NamedTuple):
    """A folder with recon.toml, the service that it is pointed at, and the environment."""

    folder: Path
    echo: Echo
    env: dict[str, str]

    def types(self, calls: Sequence[Sequence[str]], *more: str) -> bytes:
        """Return what commands print on both streams, one after the other in one process.

        tenacity waits for nothing between two tries of a request.
        """
        config = ["--config", str(self.folder / "recon.toml")]
        program = "\n".join(
            [
                "from recon.cli import run_cli",
                "from recon.system.output import write_uncaught",
                "write_uncaught()",
                "from tenacity.wait import wait_random_exponential",
                "wait_random_exponential.__call__ = lambda *_: 0.0",
                *(f"assert run_cli({[*call, *more, *config]!r}) != 70" for call in calls),
            ]
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            check=False,
            timeout=600,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said.decode()
        return said


@contextmanager
def desk(folder: Path, mode: str) -> Iterator[Desk]:
    """Give a desk whose every source, channel and beat is hostile in this mode."""
    book = traded(datetime.now(UTC))
    secret = CANARIES
    venue = OkxServer(
        book, secret["OKX_KEY"], secret["OKX_SECRET"], secret["OKX_PASSPHRASE"], throttle=0
    )
    echo = Echo(list(CANARIES.values()), mode)
    with in_background(venue), echoing(echo) as (port, database):
        echo.venue = venue.url
        values = {
            **{name: one for name, one in CANARIES.items() if f'env = "{name}"' in CONFIG},
            "BEAT": f"http://bot:{secret['BEAT_PASSWORD']}@127.0.0.1:{port}/beat",
            "REDIS": f"redis://:{secret['REDIS_PASSWORD']}@127.0.0.1:{database}/0",
            "WEBHOOK": f"json://127.0.0.1:{port}/{secret['WEBHOOK_TOKEN']}",
            "FORM": f"form://127.0.0.1:{port}/{secret['WEBHOOK_TOKEN']}",
            "TELEGRAM": f"tgram://{secret['TELEGRAM_TOKEN']}/987654321/",
            "PAGERDUTY": f"pagerduty://{secret['PAGERDUTY_KEY']}@CNRY12extra0123456",
            "PING": f"http://127.0.0.1:{port}/{secret['PING_ID']}",
        }
        write_desk(folder, port, database, is_tls=mode == "tls")
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        yield Desk(folder, echo, {**kept, **values})


def traded(now: datetime) -> OkxAccount:
    """Return an account with a deposit and two round trips in the last days."""
    book = OkxAccount(now=lambda: now)
    start = now.replace(hour=1, minute=0, second=0, microsecond=0) - timedelta(days=3)
    book.deposit("USDT", 100_000, start)
    for number, instrument in enumerate((BTC, ETH), 1):
        at = start + timedelta(hours=number)
        book.trade(instrument, "buy", 4, 2_000, at)
        book.trade(instrument, "sell", 4, 2_010, at + timedelta(minutes=30))
    return book


def write_desk(folder: Path, port: int, database: int, *, is_tls: bool) -> None:
    since = (datetime.now(UTC) - timedelta(days=3)).date()
    base = f"{'https' if is_tls else 'http'}://127.0.0.1:{port}"
    secret = CANARIES["OKX_PASSPHRASE"]
    trades = [
        {
            "trade_id": f"{number} {coded}",
            "instrument": BTC,
            "side": "long",
            "pnl": "1.5",
            "closed_at": f"{since}T05:00:00Z",
            "order_ids": secret,
        }
        for number, coded in enumerate([*encodings(secret), *CANARIES.values()])
    ]
    write_trades(folder / "vault.sqlite", trades)
    (folder / "mapping").mkdir()
    (folder / "mapping" / "trades.sql").write_text(WHOLE_MAPPING)
    places = {"SINCE": str(since), "BASE": base, "PORT": str(database)}
    text = CONFIG
    for name, value in places.items():
        text = text.replace(name, value)
    (folder / "recon.toml").write_text(text)


def found(what: str, held: bytes) -> set[str]:
    """Return which canaries are in what was written, in any encoding."""
    return {
        f"{name} in {what}"
        for name, secret in CANARIES.items()
        for one in {*encodings(secret), *PART.findall(secret)}
        if one.encode() in held
    }


def in_state(folder: Path) -> set[str]:
    """Search the bytes of every file of the state, and the text of every table."""
    leaks = set()
    for path in (folder / "state").rglob("*"):
        if path.is_file():
            leaks |= found(path.name, path.read_bytes())
            if path.suffix == ".duckdb":
                leaks |= found(f"the tables of {path.name}", _tables_of_duckdb(path))
            if path.suffix == ".sqlite":
                with closing(sqlite3.connect(path)) as db:
                    leaks |= found(f"the dump of {path.name}", "\n".join(db.iterdump()).encode())
    return leaks


def _tables_of_duckdb(path: Path) -> bytes:
    with duckdb.connect(str(path), read_only=True) as db:
        tables = db.sql("select database_name, schema_name, table_name from duckdb_tables()")
        texts = []
        for names in tables.fetchall():
            name = ".".join(f'"{one}"' for one in names)
            texts += [str(row) for row in db.sql(f"from {name}").fetchall()]
            texts += ["\n".join(map(str, row)) for row in db.sql(f"from {name}").fetchall()]
    return "\n".join(texts).encode()


def searched(here: Desk, said: bytes) -> set[str]:
    return in_state(here.folder) | here.echo.seen | found("the output", said)


def test_the_search_finds_what_there_is(tmp_path: Path) -> None:
    """A canary that is compressed in a table is found as well."""
    (tmp_path / "state").mkdir()
    with duckdb.connect(str(tmp_path / "state" / "w.duckdb")) as db:
        said = [f"row {n} {CANARIES['OKX_PASSPHRASE']}" for n in range(5000)]
        db.execute("create table t as select unnest(?) as said", [said])
    assert "OKX_PASSPHRASE in the tables of w.duckdb" in in_state(tmp_path)


@pytest.mark.parametrize("mode", ["refused", "row"])
def test_a_night_in_a_hostile_world_leaves_no_secret(mode: str, tmp_path: Path) -> None:
    with desk(tmp_path, mode) as here:
        said = here.types([["run"]], "-vv")
    assert b"[secret " in said
    assert searched(here, said) == set()
    assert here.echo.requests > 10


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("verbosity", [(), ("-v",), ("-vv",)])
@pytest.mark.parametrize("mode", MODES)
def test_no_command_lets_a_secret_out(
    mode: str, verbosity: tuple[str, ...], tmp_path: Path
) -> None:
    with desk(tmp_path, mode) as here:
        said = here.types(COMMANDS, *verbosity)
    assert searched(here, said) == set()
