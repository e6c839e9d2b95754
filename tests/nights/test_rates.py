"""What is paid in another coin: valued by the venue's candle of its minute, or not proven."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from recon.demo.venues.okx_lifecycle import OkxLife
from recon.demo.venues.okx_position import Side
from recon.demo.venues.okx_server import OkxServer
from tests.support.fleet import AS_OF, BTC, ETH, NOW, OPENING, Desk, Document, rows, run, serving
from tests.support.random_histories import INVERSE, btc_price

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PATH = "/api/v5/market/history-candles"
DESK = Desk(instrument_types=("SWAP", "SPOT"))


def traded() -> OkxLife:
    """Two trades in BTC and one in OKB, in minutes far apart; and one in the account's own."""
    book = OkxLife(now=lambda: NOW)
    for ccy in ("USDT", "BTC", "OKB"):
        book.deposit(ccy, 100_000, OPENING)
    book.trade(INVERSE, "buy", 10, 60_000, OPENING + DAY, fee="-0.0001")
    book.trade(INVERSE, "sell", 10, 61_000, OPENING + 3 * DAY, fee="-0.0001")
    book.trade(BTC, "buy", 1, 60_000, OPENING + 4 * DAY, fee="-0.1", fee_ccy="OKB")
    book.trade(ETH, "buy", 1, 3_000, OPENING + 5 * DAY, fee=-1)
    return book


def asked(server: OkxServer) -> list[dict[str, str]]:
    return [seen.query for seen in server.requests if seen.path == PATH]


def reasons(document: Document) -> str:
    return " | ".join(document["accounts"][0]["reasons"])


def with_candles(book: OkxLife) -> OkxLife:
    book.closes["BTC-USDT"] = btc_price
    book.closes["OKB-USDT"] = lambda _: Decimal("50.5")
    return book


def test_exactly_the_minutes_needed_are_fetched_once(tmp_path: Path) -> None:
    with serving(with_candles(traded())) as server:
        first = run(tmp_path, server, desk=DESK)
        wanted = len(asked(server))
        second = run(tmp_path, server, desk=DESK)
        assert len(asked(server)) == wanted
    assert first["accounts"][0]["status"] == second["accounts"][0]["status"] == "proven"
    kept = rows(tmp_path, "select id from raw.records where kind = 'candle' order by 1")
    minutes = [int((OPENING + days * DAY).timestamp() * 1000) for days in (1, 3, 4)]
    pairs = ("BTC-USDT", "BTC-USDT", "OKB-USDT")
    assert kept == [(f"{pair}/{at}",) for pair, at in zip(pairs, minutes, strict=True)]


def test_each_value_says_how_it_was_come_by(tmp_path: Path) -> None:
    book = with_candles(traded())
    book.trade("LTC-USDT", "buy", 1, 80, OPENING + 6 * DAY, fee="-0.001")
    with serving(book) as server:
        run(tmp_path, server, desk=DESK)
    found = rows(tmp_path, "select instrument, valuation from evidence.fills order by seq")
    assert found == [
        (INVERSE, "estimated"),
        (INVERSE, "estimated"),
        (BTC, "estimated"),
        (ETH, "exact"),
        ("LTC-USDT", "converted"),
    ]


def test_a_fee_of_nothing_in_another_coin_is_an_entry_of_its_own(tmp_path: Path) -> None:
    book = with_candles(traded())
    book.trade(BTC, "sell", 1, 60_500, OPENING + 6 * DAY, fee=0, fee_ccy="OKB")
    with serving(book) as server:
        document = run(tmp_path, server, desk=DESK)
    assert document["accounts"][0]["status"] == "proven", reasons(document)


def test_a_rate_that_cannot_be_had_is_named_and_found_when_it_can(tmp_path: Path) -> None:
    book = traded()
    with serving(book) as server:
        first = run(tmp_path, server, desk=DESK)
        with_candles(book)
        second = run(tmp_path, server, desk=DESK)
    assert first["accounts"][0]["status"] == "unproven"
    assert f"{INVERSE}: settles in BTC, and no rate to USDT is known" in reasons(first)
    assert "a fee in OKB has no known value in USDT" in reasons(first)
    assert first["accounts"][0]["window"]["fees"] is None
    assert second["accounts"][0]["status"] == "proven", reasons(second)


def test_a_pair_that_is_listed_the_other_way_round_is_read_so(tmp_path: Path) -> None:
    book = OkxLife(now=lambda: NOW)
    book.deposit("BTC", 10, OPENING)
    book.deposit("USDT", 1_000, OPENING)
    book.closes["BTC-USDT"] = lambda _: Decimal(80_000)
    book.trade(BTC, "buy", 1, 60_000, OPENING + DAY, fee=0)
    book.trade(BTC, "sell", 1, 61_000, OPENING + 2 * DAY, fee=0)
    with serving(book) as server:
        document = run(tmp_path, server, desk=Desk(currency="BTC"))
    [entry] = document["accounts"]
    assert entry["status"] == "proven", entry["reasons"]
    assert entry["window"]["gross"] == "0.000125"


def test_many_minutes_take_their_pages(tmp_path: Path) -> None:
    book = with_candles(OkxLife(now=lambda: NOW))
    book.deposit("BTC", 10, OPENING)
    for minute in range(250):
        side: Side = "sell" if minute % 2 else "buy"
        book.trade(INVERSE, side, 1, 60_000, OPENING + minute * timedelta(minutes=2), fee=0)
    with serving(book) as server:
        document = run(tmp_path, server, desk=DESK, as_of=AS_OF)
        assert len(asked(server)) == 5
    assert document["accounts"][0]["status"] == "proven", reasons(document)
    assert rows(tmp_path, "select count(*) from raw.records where kind = 'candle'") == [(250,)]
