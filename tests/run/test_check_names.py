"""The bot's instruments, its database's and its venue's: compared by a run and by a check.

One account of OKX's, one night: each bot is wrong in its own way, or right.
"""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recon.cli import run_cli
from recon.demo.venues.okx_instruments import swap
from tests.nights.test_exchanges import traded
from tests.support.exchanges import SERVERS, night
from tests.support.fleet import (
    BTC,
    ETH,
    NOW,
    OPENING,
    SOL,
    Desk,
    Trader,
    account,
    run,
    serving,
    unpaced,
    write_folder,
)
from tests.support.servers.ccxt_server import serving as exchange_serving

LTC, DOGE = "LTC-USDT-SWAP", "DOGE-USDT-SWAP"


def trade(instrument: str, pnl: str = "5") -> dict[str, Any]:
    return {
        "trade_id": f"{instrument} {pnl}",
        "instrument": instrument,
        "side": "long",
        "closed_at": (OPENING + timedelta(hours=3)).strftime("%Y-%m-%d %H:%M:%S"),
        "pnl": pnl,
    }


BOTS = {
    "wrong": Trader("wrong", instruments=(BTC,), trades=[trade(BTC)]),
    "short": Trader("short", instruments=("ETH-USDT",), trades=[trade("ETH/USDT:USDT")]),
    "renamed": Trader("renamed", instruments=(LTC,), trades=[trade("LTCUSDT")]),
    "stray": Trader("stray", instruments=(DOGE,), trades=[trade(BTC)]),
    "lacking": Trader("lacking", instruments=(SOL,), trades=[trade(SOL), trade(ETH)]),
    "tagged": Trader("tagged", instruments=(), order_tag="tg", trades=[trade(BTC)]),
    "ccxt": Trader("ccxt", instruments=(), order_tag="cx", trades=[trade("BTC/USDT:USDT")]),
    "future": Trader("future", instruments=("BTC-USDT-991231",), trades=[]),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("names")
    book = account()
    for name in (LTC, DOGE):
        book.add_instrument(swap(name, 1))
    for instrument in (BTC, ETH, SOL):
        book.trade(instrument, "buy", 1, 100, OPENING + timedelta(hours=1))
        book.trade(instrument, "sell", 1, 101, OPENING + timedelta(hours=2))
    with unpaced(), serving(book) as server:
        document = run(folder, server, bots=list(BOTS.values()))
        path = write_folder(folder, [(Desk(), server)], list(BOTS.values()), "")
        checks = checked(path)
    return {
        "account": document["accounts"][0],
        "bots": {bot["bot"]: bot for bot in document["bots"]},
        "checks": checks,
    }


def checked(path: Path) -> dict[str, dict[str, Any]]:
    """Type `recon check --json`; return its items by subject."""
    with redirect_stdout(io.StringIO()) as out:
        run_cli(["check", "--json", "--config", str(path)])
    return {item["subject"]: item for item in json.loads(out.getvalue())["checks"]}


@pytest.mark.parametrize(
    ("bot", "said"),
    [
        (
            "short",
            (
                "bots.short.instruments: okx lists no SWAP called ETH-USDT; the nearest names are "
                "ETH-USDT-SWAP"
            ),
        ),
        (
            "renamed",
            (
                "its database has trades on LTCUSDT, and okx lists no SWAP called LTCUSDT; the "
                "nearest names are LTC-USDT-SWAP"
            ),
        ),
        (
            "stray",
            (
                "its database has trades on BTC-USDT-SWAP, and on none of its instruments: correct "
                "bots.stray.instruments"
            ),
        ),
        (
            "lacking",
            (
                "its database has trades on ETH-USDT-SWAP, which no bot owns, and the account has "
                "fills of it that nobody owns: add it to bots.lacking.instruments"
            ),
        ),
        ("future", "okx lists no SWAP called BTC-USDT-991231"),
    ],
)
def test_a_name_that_fits_no_list_makes_its_bot_unproven(
    told: dict[str, Any], bot: str, said: str
) -> None:
    entry = told["bots"][bot]
    assert entry["status"] == "unproven"
    assert len(entry["reasons"]) == 1, "one mistake, one message"
    assert said in entry["reasons"][0]
    item = told["checks"][f"instruments of {bot}"]
    if bot == "lacking":  # only a run knows the unowned fills
        assert f"its database also has trades on {ETH}" in item["notes"][0]
        return
    assert not item["ok"]
    assert said in item["detail"]


def test_what_is_wrong_with_one_name_is_said_of_no_other_bot(told: dict[str, Any]) -> None:
    assert told["account"]["status"] == "proven", told["account"]["reasons"]
    for bot in ("wrong", "tagged", "ccxt"):
        assert told["bots"][bot]["status"] == "diverged"
        assert told["bots"][bot]["reasons"] == []
        assert told["checks"][f"instruments of {bot}"]["ok"]


def test_an_instrument_that_the_account_traded_is_known_though_it_is_not_listed_any_more(
    tmp_path: Path,
) -> None:
    book = account()
    book.trade(SOL, "buy", 1, 100, OPENING + timedelta(hours=1))
    book.trade(SOL, "sell", 1, 101, OPENING + timedelta(hours=2))
    bot = Trader(instruments=(SOL,), trades=[trade(SOL, "0.9")])
    with unpaced(), serving(book) as server:
        run(tmp_path, server, bots=[bot])
        del book.instruments[SOL]
        path = write_folder(tmp_path, [(Desk(), server)], [bot], "")
        assert checked(path)["instruments of btc"]["ok"]
        [entry] = run(tmp_path, server, bots=[bot])["bots"]
    assert not any("lists no" in reason for reason in entry["reasons"])


def test_an_exchange_of_ccxt_s_is_asked_for_the_names_that_bots_own(tmp_path: Path) -> None:
    server = SERVERS["bybit"](traded("bybit"))
    with exchange_serving(server):
        first = server.symbols[0]
        typo = first.replace("/USDT:USDT", "/USDT:USD")
        document = night(tmp_path, server, claims=[(NOW, "1")], instruments=[typo])
        item = checked(tmp_path / "recon.toml")["instruments of bot"]
        again = night(tmp_path, server, claims=[(NOW, "1")], instruments=[first])
    [bot] = document["bots"]
    said = f"bybit lists no instrument called {typo}; the nearest names are {first}"
    assert bot["status"] == "unproven"
    assert said in bot["reasons"][0]
    assert said in item["detail"]
    assert not any("lists no" in reason for reason in again["bots"][0]["reasons"])
