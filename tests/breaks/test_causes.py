"""Runs over bots with planted errors: each error is named with its exact amount."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from recon.breaks.causes.attribution import find_causes
from recon.config.settings import load
from recon.demo.venues.okx_account import OkxAccount
from recon.run.nightly import Night, dry_run
from tests.conftest import seeds
from tests.support.faulty_bots import LIES, Liar, planted, written
from tests.support.fleet import (
    AS_OF,
    BTC,
    ETH,
    NOW,
    OPENING,
    Desk,
    Row,
    Trader,
    account,
    one_night,
    run,
    run_desks,
    serving,
)

TRIPS = 12
ROUNDED = Fraction(1, 10**12)
"""A bot database keeps 15 places. The largest cause takes what is lost after them."""


def told(folder: Path, liars: list[Liar]) -> None:
    """Run recon on these bots, and compare each bot's causes with the planted errors."""
    book = liars[0].book
    for liar in liars:
        liar.live(TRIPS)
    document = one_night(folder, book, bots=[liar.bot for liar in liars])
    assert [entry["status"] for entry in document["accounts"]] == ["proven"]
    for liar, bot in zip(liars, document["bots"], strict=True):
        causes = {one["cause"]: Fraction(one["amount"]) for one in bot["window"]["causes"]}
        assert causes.pop("unexplained") == 0, (liar.lies, bot)
        assert sum(causes.values()) == Fraction(bot["window"]["divergence"])
        expected = planted(liar)
        assert causes.keys() == expected.keys(), (liar.lies, causes, expected)
        for cause, amount in expected.items():
            assert abs(causes[cause] - amount) < ROUNDED, (liar.lies, cause)
        day = sum(Fraction(one["amount"]) for one in bot["session"]["causes"])
        assert day == Fraction(bot["session"]["divergence"])


def test_each_planted_error_alone_is_named(tmp_path: Path) -> None:
    book = account()
    rng = random.Random("alone")
    told(tmp_path, [Liar(rng, number, [lie], book) for number, lie in enumerate((*LIES, ""))])


def test_a_bot_with_too_many_trades_keeps_its_divergence_unexplained(tmp_path: Path) -> None:
    book = account()
    liars = [Liar(random.Random(lie), number, [lie], book) for number, lie in enumerate(LIES[:2])]
    told(tmp_path, liars)
    large = liars[0].bot.id
    by_session = (
        "select bot, session_date, sum(amount) as amount, "
        "list(distinct cause order by cause) as causes from causes.found group by all order by all"
    )
    night = Night(load(tmp_path / "recon.toml"), as_of=AS_OF, now=lambda: NOW)
    with dry_run(night, large) as (_, warehouse):
        looked_at = warehouse.rows(by_session)
        find_causes(warehouse, {"okx": "average"}, most_trades=0)
        excluded = warehouse.rows(by_session)
        [says] = warehouse.rows("select distinct says from causes.found")
    assert [one["amount"] for one in excluded] == [one["amount"] for one in looked_at]
    assert all(one["causes"] == ["unexplained"] for one in excluded)
    assert says["says"].endswith("causes are computed for up to 0")


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_every_mixture_of_planted_errors_is_decomposed(seed: int, tmp_path: Path) -> None:
    book = account()
    rng = random.Random(f"mixture{seed}")
    told(
        tmp_path,
        [Liar(rng, number, rng.sample(LIES, rng.randint(2, 6)), book) for number in range(25)],
    )


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_trades_without_orders_are_matched_by_side_time_quantity_and_price(
    seed: int, tmp_path: Path
) -> None:
    book = account()
    rng = random.Random(f"looks{seed}")
    lies = [one for one in LIES if one not in ("phantom", "side", "timing", "duplicate")]
    told(
        tmp_path,
        [Liar(rng, n, rng.sample(lies, n % 4), book, names_orders=False) for n in range(12)],
    )


def causes_of(bot: dict[str, Any]) -> dict[str, Fraction]:
    causes = {one["cause"]: Fraction(one["amount"]) for one in bot["window"]["causes"]}
    assert sum(causes.values()) == Fraction(bot["window"]["divergence"])
    return causes


def booked(name: str, *orders: str, **columns: str) -> Row:
    """A long trade of BTC with a claimed PnL of 100."""
    return {
        "trade_id": name,
        "instrument": BTC,
        "side": "long",
        "qty": "10",
        "pnl": "100",
        "opened_at": "2026-05-03 01:00:00",
        "closed_at": "2026-05-03 02:00:00",
        "entry_price": "60000",
        "exit_price": "61000",
        "gross": "100",
        "fee": "0",
        "funding": "0",
        "order_ids": ",".join(orders),
        **columns,
    }


def restate(book: OkxAccount, bill: int, fee: str) -> None:
    """Make the venue serve another fee for a fill and for its ledger entry."""
    for tape in (book.fills, book.bills):
        row = next(one for one in tape.rows if one["billId"] == str(bill))
        row["fee"] = fee
    change = Decimal(fee)
    found = False
    for one in book.bills.rows:
        found = found or one["billId"] == str(bill)
        if one["billId"] == str(bill):
            one["balChg"] = str(Decimal(str(one["balChg"])) + change)
        if found:
            one["bal"] = str(Decimal(str(one["bal"])) + change)
    book._balances["USDT"] += change


AT, HOUR = OPENING + timedelta(days=2), timedelta(hours=1)


def test_a_liquidation_is_unrecorded(tmp_path: Path) -> None:
    book = account()
    book.trade(BTC, "buy", 10, 60_000, AT, fee=0, ord_id="1")
    book.liquidate(BTC, 55_000, AT + HOUR, penalty=-7)
    [bot] = one_night(tmp_path, book, bots=[Trader(trades=[])])["bots"]
    assert causes_of(bot) == {"unrecorded": 507, "unexplained": 0}


def test_the_liquidated_rest_of_a_trade_is_unrecorded(tmp_path: Path) -> None:
    book = account()
    book.trade(BTC, "buy", 10, 60_000, AT, fee=0, ord_id="1")
    book.trade(BTC, "sell", 6, 61_000, AT + HOUR, fee=0, ord_id="2")
    book.liquidate(BTC, 55_000, AT + 2 * HOUR)
    [bot] = one_night(tmp_path, book, bots=[Trader(trades=[booked("t", "1", "2")])])["bots"]
    assert causes_of(bot) == {"quantity": 40, "unrecorded": 200, "unexplained": 0}


def test_another_bot_s_order_is_adopted(tmp_path: Path) -> None:
    book = account()
    book.trade(BTC, "buy", 10, 60_000, AT, fee=0, ord_id="1")
    book.trade(BTC, "sell", 10, 61_000, AT + HOUR, fee=0, ord_id="2")
    honest = Trader(id="a", instruments=(BTC,), trades=[booked("t", "1", "2")])
    thief = Trader(id="b", instruments=(ETH,), trades=[booked("t", "1", "2")])
    first, second = one_night(tmp_path, book, bots=[honest, thief])["bots"]
    assert causes_of(first) == {"unexplained": 0}
    assert causes_of(second) == {"adopted": 100, "unexplained": 0}
    silent = Trader(id="a", instruments=(BTC,), trades=[])
    first, second = one_night(tmp_path / "2", book, bots=[silent, thief])["bots"]
    assert causes_of(first) == {"adopted": -100, "unexplained": 0}


def test_an_order_that_closes_one_trade_and_opens_the_next_is_both(tmp_path: Path) -> None:
    book = account()
    book.trade(BTC, "buy", 10, 60_000, AT, fee=0, ord_id="1")
    book.trade(BTC, "sell", 14, 61_000, AT + HOUR, fee="-1.4", ord_id="2")
    book.trade(BTC, "buy", 4, 60_500, AT + 2 * HOUR, fee=0, ord_id="3")
    short = {
        "side": "short",
        "qty": "4",
        "entry_price": "61000",
        "exit_price": "60500",
        "gross": "20",
        "pnl": "20",
        "opened_at": "2026-05-03 02:00:00",
        "closed_at": "2026-05-03 03:00:00",
    }
    trades = [booked("t", "1", "2"), booked("u", "2", "3", **short)]
    [bot] = one_night(tmp_path, book, bots=[Trader(trades=trades)])["bots"]
    assert causes_of(bot) == {"fee_missing": Fraction("1.4"), "unexplained": 0}


def test_an_unowned_order_is_not_adopted(tmp_path: Path) -> None:
    """One trade has a part of another bot and an unowned part: each has its own cause."""
    book = account()
    for order, tag, side, qty, price in (
        ("1", "", "buy", 10, 60_000),
        ("2", "", "sell", 10, 61_000),
        ("3", "", "buy", 10, 60_000),
        ("4", "", "sell", 10, 62_000),
        ("5", "a5", "buy", 10, 60_000),
        ("6", "a6", "sell", 10, 61_000),
    ):
        at = AT + int(order) * HOUR
        book.trade(BTC, side, qty, price, at, fee=0, ord_id=order, cl_ord_id=tag)  # type: ignore[arg-type]
    honest = Trader(id="a", instruments=(), order_tag="a", trades=[booked("t", "5", "6")])
    other = Trader(
        id="b", instruments=(ETH,), trades=[booked("t", "1", "2"), booked("u", "3", "4", "5", "6")]
    )
    first, second = one_night(tmp_path, book, bots=[honest, other])["bots"]
    assert causes_of(first) == {"unexplained": 0}
    found = causes_of(second)
    assert found["unowned"] == 300
    assert found["adopted"] == 100


@pytest.mark.parametrize(("owned", "cause"), [((BTC,), "adopted"), ((ETH,), "unowned")])
def test_an_order_of_another_account_is_adopted_where_a_bot_placed_it(
    owned: tuple[str, ...], cause: str, tmp_path: Path
) -> None:
    there = account()
    there.trade(BTC, "buy", 10, 60_000, AT, fee=0, ord_id="1")
    there.trade(BTC, "sell", 10, 61_000, AT + HOUR, fee=0, ord_id="2")
    bots = [
        Trader("here", "here", trades=[booked("t", "1", "2")]),
        Trader("there", "there", instruments=owned, trades=[]),
    ]
    with serving(account()) as one, serving(there) as other:
        document = run_desks(tmp_path, [(Desk("here"), one), (Desk("there"), other)], bots=bots)
    assert causes_of(document["bots"][0]) == {cause: 100, "unexplained": 0}


def test_a_partial_exit_that_names_its_own_order_alone_is_of_the_same_position(
    tmp_path: Path,
) -> None:
    """The first trade that closes a part names the orders that opened the position."""
    book = account()
    book.trade(BTC, "buy", 10, 60_000, AT, fee=0, ord_id="1")
    book.trade(BTC, "sell", 4, 61_000, AT + HOUR, fee="-0.4", ord_id="2")
    book.trade(BTC, "sell", 6, 61_000, AT + 2 * HOUR, fee="-0.6", ord_id="3")
    parts = [
        booked("t", "1", "2", qty="4", gross="40", pnl="40"),
        booked("u", "3", qty="6", gross="60", pnl="60", closed_at="2026-05-03 03:00:00"),
    ]
    [bot] = one_night(tmp_path, book, bots=[Trader(trades=parts)])["bots"]
    assert causes_of(bot) == {"fee_missing": 1, "unexplained": 0}


def test_an_order_that_the_broker_has_is_no_phantom(tmp_path: Path) -> None:
    """The exit was never filled, but the broker filled the entry."""
    book = account()
    book.trade(BTC, "buy", 10, 60_000, AT, fee=0, ord_id="1")
    [bot] = one_night(tmp_path, book, bots=[Trader(trades=[booked("t", "1", "9")])])["bots"]
    assert causes_of(bot) == {"quantity": 100, "unexplained": 0}


def test_a_fee_in_another_coin_is_valued_by_the_minute(tmp_path: Path) -> None:
    book = account()
    book.deposit("OKB", 10, OPENING)
    book.closes["OKB-USDT"] = lambda _: Decimal("50.5")
    book.trade(BTC, "buy", 10, 60_000, AT, fee="-0.1", fee_ccy="OKB", ord_id="1")
    book.trade(BTC, "sell", 10, 61_000, AT + HOUR, fee=0, ord_id="2")
    row = booked("t", "1", "2", fee="-4", pnl="96")
    [bot] = one_night(tmp_path, book, bots=[Trader(trades=[row])])["bots"]
    assert causes_of(bot) == {"fee_currency_value": Fraction("1.05"), "unexplained": 0}


def test_a_restatement_after_booking_is_a_correction(tmp_path: Path) -> None:
    book, late = account(), NOW - timedelta(days=3)
    book.trade(BTC, "buy", 10, 60_000, late, fee=0, ord_id="1")
    bill = book.trade(BTC, "sell", 10, 61_000, late + HOUR, fee=0, ord_id="2")
    row = booked("t", "1", "2", closed_at="2026-05-12 03:00:00")
    bot = Trader(trades=[row])
    with serving(book) as server:
        [before] = run(tmp_path, server, bots=[bot], as_of=AS_OF - timedelta(days=1))["bots"]
        restate(book, bill, fee="-2.5")
        [after] = run(tmp_path, server, bots=[bot])["bots"]
    assert causes_of(before) == {"unexplained": 0}
    assert causes_of(after) == {"correction": Fraction("2.5"), "unexplained": 0}


def test_overlapping_trades_differ_from_the_lots_by_lot_method(tmp_path: Path) -> None:
    book = account()
    for name, (side, price) in enumerate(
        [("buy", 60_000), ("buy", 62_000), ("sell", 63_000), ("sell", 61_000)]
    ):
        day = AT + timedelta(days=name)
        book.trade(BTC, side, 10, price, day, fee=0, ord_id=f"{name}")  # type: ignore[arg-type]
    last = {
        "entry_price": "62000",
        "exit_price": "61000",
        "gross": "-100",
        "pnl": "-100",
        "closed_at": "2026-05-06 01:00:00",
    }
    first = {
        "exit_price": "63000",
        "gross": "300",
        "pnl": "300",
        "closed_at": "2026-05-05 01:00:00",
    }
    trades = [booked("t", "0", "2", **first), booked("u", "1", "3", **last)]
    with serving(book) as server:
        [bot] = run(tmp_path, server, bots=[Trader(trades=trades)])["bots"]
        assert causes_of(bot) == {"unexplained": 0}
        [bot] = run(tmp_path, server, bots=[Trader(trades=trades)], as_of=date(2026, 5, 5))["bots"]
    assert causes_of(bot) == {"lot_method": 100, "unexplained": 0}


def test_a_row_of_an_earlier_run_that_is_gone_is_deleted(tmp_path: Path) -> None:
    book = account()
    liar = Liar(random.Random("deleted"), 1, [], book)
    liar.live(4)
    with serving(book) as server:
        before = run(tmp_path, server, bots=[liar.bot], as_of=AS_OF - timedelta(days=1))
        gone = liar.rows.pop(1)
        edited = Fraction(liar.rows[0]["pnl"]) + 5
        liar.rows[0]["pnl"] = written(edited)
        after = run(tmp_path, server, bots=[liar.bot])
    assert before["bots"][0]["window"]["causes"] == [
        {"cause": "unexplained", "amount": "0", "trades": 0}
    ]
    causes = {one["cause"]: Fraction(one["amount"]) for one in after["bots"][0]["window"]["causes"]}
    assert causes == {"deleted": -Fraction(gone["pnl"]), "arithmetic": 5, "unexplained": 0}
