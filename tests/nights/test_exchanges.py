"""Whole nights at exchanges that are read through ccxt: figures, proofs, and what is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from recon.config.settings import load
from recon.errors import ConfigError
from recon.run.nightly import Night, run_night
from tests.support.exchanges import SERVERS, night, reckoned
from tests.support.fleet import AS_OF, NOW, OPENING, Document, proof_statuses, rows
from tests.support.servers import bybit, hyperliquid
from tests.support.servers.binanceusdm import BinanceServer
from tests.support.servers.bybit import BybitServer
from tests.support.servers.ccxt_server import Book, decimal_text, serving
from tests.support.servers.hyperliquid import HyperliquidServer

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
TINY = Fraction(1, 10**15)


def traded(exchange: str) -> Book:
    """Return two weeks of trades, with a position left open, and payments where there are any."""
    first, second = SERVERS[exchange].symbols
    book = Book()
    for day in range(12):
        at = OPENING + day * DAY + HOUR
        book.trade(first, "buy", "0.6", 100 + day, at, "0.012")
        book.trade(first, "buy", "0.4", 103 + day, at + HOUR, "0.007")
        book.trade(second, "buy", "3", "20.5", at + HOUR, "-0.001")
        if exchange != "kraken":
            book.pay(first, "-0.125" if day % 3 else "0.25", at + 2 * HOUR)
        book.trade(first, "sell", "0.3", 111 + day, at + 3 * HOUR, "0.003")
        book.trade(first, "sell", "0.7", 99 + day, at + 4 * HOUR, "0.011")
        book.trade(second, "sell", "2", "21.25", at + 5 * HOUR, "0.002")
    return book


def reasons(document: Document) -> str:
    return " | ".join(document["accounts"][0]["reasons"])


def money(entry: dict[str, Any], name: str) -> Fraction:
    return Fraction(Decimal(entry[name]))


@pytest.mark.parametrize("exchange", SERVERS)
def test_a_night_is_proven_and_says_what_the_reckoner_says(exchange: str, tmp_path: Path) -> None:
    book = traded(exchange)
    truth = reckoned(book)
    claim = [(NOW - 3 * DAY, decimal_text(round(truth["net"], 6)))]
    with serving(SERVERS[exchange](book)) as server:
        document = night(tmp_path, server, claims=claim)
    [account], [bot] = document["accounts"], document["bots"]
    assert account["status"] == "proven", reasons(document)
    assert proof_statuses(account) == {
        "positions": "closed",
        "cash": "absent",
        "broker_pnl": "absent",
        "equity": "absent",
    }
    assert set(account["coverage"].values()) == {"complete"}
    for name, amount in truth.items():
        assert money(account["window"], name) == amount, name
        assert bot["window"]["broker"][name] == account["window"][name]
    assert account["unowned"] == {"net": "0", "fills": 0}
    assert account["netting"] == "0"
    assert bot["status"] == "agreed"


def test_a_bot_that_shows_too_much_diverges(tmp_path: Path) -> None:
    book = traded("bybit")
    claim = [(NOW - 3 * DAY, decimal_text(round(reckoned(book)["net"], 6) + 7))]
    with serving(SERVERS["bybit"](book)) as server:
        document = night(tmp_path, server, claims=claim)
    assert document["accounts"][0]["status"] == "proven", reasons(document)
    assert [bot["status"] for bot in document["bots"]] == ["diverged"]


@pytest.mark.parametrize("exchange", ["hyperliquid", "kraken"])
def test_a_fill_that_cannot_be_had_leaves_the_account_unproven(
    exchange: str, tmp_path: Path
) -> None:
    book = traded(exchange)
    book.hidden = {book.deals[7].id}
    with serving(SERVERS[exchange](book)) as server:
        document = night(tmp_path, server)
    [account] = document["accounts"]
    assert account["proofs"]["positions"]["status"] == "broken"
    assert "the fills add up to" in reasons(document)
    assert document["status"] == "unproven"


@pytest.mark.parametrize("exchange", ["bybit", "kraken"])
def test_nights_add_up_to_one(exchange: str, tmp_path: Path) -> None:
    book = traded(exchange)
    with serving(SERVERS[exchange](book)) as server:
        for back in (6, 3, 0):
            now = NOW - back * DAY
            server.book = Book(
                [deal for deal in book.deals if deal.at <= now],
                [one for one in book.payments if one.at <= now],
            )
            many = night(tmp_path, server, as_of=AS_OF - back * DAY, now=lambda now=now: now)
        fresh = tmp_path / "fresh"
        fresh.mkdir()
        once = night(fresh, server)
    assert many["accounts"][0]["status"] == "proven", reasons(many)
    assert many["accounts"][0]["window"] == once["accounts"][0]["window"]
    assert many["bots"] == once["bots"]


def test_what_an_exchange_corrects_is_corrected(tmp_path: Path) -> None:
    book = traded("hyperliquid")
    with serving(HyperliquidServer(book)) as server:
        before = night(tmp_path, server, as_of=AS_OF - DAY)
        book.deals[-7] = replace(book.deals[-7], fee="0.5")
        book.payments[-1] = replace(book.payments[-1], amount="-2.5")
        after = night(tmp_path, server)
    [account] = after["accounts"]
    assert account["status"] == "proven", reasons(after)
    assert account["window"]["net"] != before["accounts"][0]["window"]["net"]
    assert {name: money(account["window"], name) for name in reckoned(book)} == reckoned(book)


def test_coins_are_proven_as_positions_are(tmp_path: Path) -> None:
    book = Book(coins={"DOGE": "77"})
    book.trade(bybit.SPOT, "buy", "3", 60, OPENING + DAY, fee="0.003")
    book.trade(bybit.SPOT, "sell", "2", 70, OPENING + 2 * DAY, fee="0.14")
    options: dict[str, Any] = {"more": 'type = "spot"', "instruments": [bybit.SPOT]}
    with serving(BybitServer(book)) as server:
        document = night(tmp_path, server, **options)
        [account] = document["accounts"]
        assert account["status"] == "proven", reasons(document)
        # 2.997 are left of the purchase; 2 of them cost 2/2.997 of the 180 that were paid.
        cost = Fraction(180) * 2 / Fraction("2.997")
        assert abs(money(account["window"], "net") - (140 - cost - Fraction("0.14"))) < TINY
        book.hidden = {book.trade(bybit.SPOT, "buy", "1", 60, NOW - HOUR, fee="0").id}
        document = night(tmp_path, server, **options)
    assert document["accounts"][0]["status"] == "unproven"
    assert "LTC: the fills add up to 0.997, the statement says 1.997" in reasons(document)


def test_hyperliquid_s_builder_is_paid_once(tmp_path: Path) -> None:
    book = traded("hyperliquid")
    with serving(HyperliquidServer(book, builder_fee="0.001")) as server:
        document = night(tmp_path, server)
    assert money(document["accounts"][0]["window"], "fees") == reckoned(book)["fees"]


def test_fills_of_one_instant_are_in_the_order_of_the_position(tmp_path: Path) -> None:
    book = Book()
    for turn in range(20):  # each group of sales goes through 0 somewhere
        side: Any = "buy" if turn % 10 < 4 else "sell"
        later = turn % 10 >= 4
        at = OPENING + turn // 10 * HOUR + later * HOUR / 2
        book.trade(hyperliquid.BTC, side, 1 + turn % 3, 100 + turn * turn % 47, at)
    with serving(HyperliquidServer(book)) as server:
        document = night(tmp_path, server)
    total = document["accounts"][0]["window"]
    assert {name: money(total, name) for name in ("gross", "fees")} == {
        name: amount for name, amount in reckoned(book).items() if name in {"gross", "fees"}
    }


def test_funding_that_is_not_known_leaves_no_sums(tmp_path: Path) -> None:
    server = BybitServer(traded("bybit"))
    with serving(server):
        server.fault("execution", "html", after=15)
        document = night(tmp_path, server)
    [account] = document["accounts"]
    assert account["coverage"]["ledger"] == "failed", account
    assert account["window"]["net"] is None
    assert account["window"]["funding"] is None
    assert document["status"] == "unproven"


def test_a_liquidation_counts(tmp_path: Path) -> None:
    book = traded("bybit")
    ids = frozenset({book.deals[-1].id})
    with serving(BybitServer(book, liquidations=ids)) as server:
        document = night(tmp_path, server)
    assert document["accounts"][0]["status"] == "proven", reasons(document)
    assert rows(tmp_path, "select fill_id from evidence.fills where is_system") == [
        (
            f"{bybit.ETH}/{book.deals[-1].at_ms}/00000000-0000-0000-0000-{book.deals[-1].id:012d}/sell",
        )
    ]


def test_what_settles_in_another_currency_is_said(tmp_path: Path) -> None:
    with serving(BybitServer(traded("bybit"))) as server:
        night(tmp_path, server)
    path = tmp_path / "recon.toml"
    text = path.read_text(encoding="utf-8").replace('currency = "USDT"', 'currency = "EUR"')
    path.write_text(text, encoding="utf-8")
    again = Night(load(path), as_of=AS_OF, is_fetching=False, is_paging=False, now=lambda: NOW)
    document = run_night(again)
    assert "settles in USDT, and no rate to EUR is known" in reasons(document)


def test_an_exchange_that_wants_more_says_so_before_the_night(tmp_path: Path) -> None:
    with serving(BinanceServer(Book())) as server:
        night(tmp_path, server)
    path = tmp_path / "recon.toml"
    text = path.read_text(encoding="utf-8")
    named = next(line for line in text.splitlines() if line.startswith("symbols"))
    path.write_text(text.replace(named, ""), encoding="utf-8")
    with pytest.raises(ConfigError, match="binanceusdm needs symbols, as it serves"):
        run_night(Night(load(path), now=lambda: NOW))
