"""Whole nights at exchanges that are read through ccxt: figures, proofs, and what is not known."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.exchanges import SERVERS, night, reckoned
from tests.fleet import AS_OF, NOW, OPENING, Document
from tests.servers.ccxt_server import Book, decimal_text, serving

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


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
    assert account["proofs"] == {"positions": "closed", "cash": "absent", "broker_pnl": "absent"}
    assert set(account["coverage"].values()) == {"complete"}
    for name, amount in truth.items():
        assert money(account["total"], name) == amount, name
        assert bot["total"]["truth"][name] == account["total"][name]
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
    assert account["proofs"]["positions"] == "broken"
    assert "the fills of" in reasons(document)
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
    assert many["accounts"][0]["total"] == once["accounts"][0]["total"]
    assert many["bots"] == once["bots"]
