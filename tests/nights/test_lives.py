"""What may befall an OKX account, each through a whole night: its figures, and its proofs."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from recon.demo.venues.okx_instruments import Instrument, Row, future, option, spot
from recon.demo.venues.okx_lifecycle import OkxLife
from tests.conftest import seeds
from tests.support.fleet import (
    BTC,
    ETH,
    NOW,
    OPENING,
    SOL,
    Case,
    Desk,
    Document,
    Trader,
    one_night,
    proof_statuses,
    rows,
    run_desks,
    serving,
    shared_night,
)
from tests.support.random_histories import Life, btc_price

Entry = dict[str, Any]
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
DATED, DATED_LINEAR = "BTC-USD-260626", "BTC-USDT-260626"
CALL = "BTC-USD-260529-90000-C"
INVERSE, SPOT = "BTC-USD-SWAP", "LTC-USDT"
TYPES = ("SWAP", "FUTURES", "OPTION", "SPOT", "MARGIN")
INSTRUMENTS: tuple[Instrument, ...] = (
    future(DATED, 100),
    future(DATED_LINEAR, "0.01"),
    option(CALL),
    spot("BTC-USDT"),
)


def life(**funds: str) -> OkxLife:
    """An account with some of each currency since the first hour, and candles of BTC and OKB."""
    book = OkxLife(now=lambda: NOW)
    for instrument in INSTRUMENTS:
        book.add_instrument(instrument)
    for ccy, amount in {"USDT": "100000", **funds}.items():
        book.deposit(ccy, amount, OPENING)
    book.closes["BTC-USDT"] = btc_price
    book.closes["OKB-USDT"] = lambda _: Decimal("50.5")
    return book


def night(book: OkxLife, folder: Path, currency: str = "USDT") -> Document:
    desk = Desk(instrument_types=TYPES, currency=currency)
    return one_night(folder, book, desk=desk, bots=(Trader(),))


class Due(NamedTuple):
    """What an account is due in its own currency; None is not looked at."""

    gross: str
    fees: str = "0"
    funding: str = "0"
    other: str = "0"
    currency: str = "USDT"


def swaps(book: OkxLife, at: datetime) -> Due:
    book.trade(BTC, "buy", 10, 60_000, at, fee=-3)
    book.funding(BTC, at + HOUR, amount=-1)
    book.trade(BTC, "sell", 4, 61_000, at + 2 * HOUR, fee="0.5")
    book.trade(BTC, "sell", 6, 62_000, at + 3 * HOUR, fee=-2)
    return Due("160", "-4.5", "-1")


def settled_future(book: OkxLife, at: datetime) -> Due:
    book.trade(DATED_LINEAR, "buy", 10, 60_000, at, fee=-3)
    book.settle(DATED_LINEAR, 61_000, at + DAY)
    book.trade(DATED_LINEAR, "buy", 10, 62_000, at + DAY + HOUR, fee=-3)
    book.settle(DATED_LINEAR, 61_500, at + 2 * DAY)
    book.trade(DATED_LINEAR, "sell", 5, 63_000, at + 3 * DAY, fee=-1)
    book.deliver(DATED_LINEAR, 60_500, at + 4 * DAY, fee=-2)
    return Due("25", "-9")


def settled_and_open(book: OkxLife, at: datetime) -> Due:
    book.trade(DATED_LINEAR, "sell", 10, 60_000, at, fee=-3)
    book.settle(DATED_LINEAR, 59_000, at + DAY)
    book.trade(DATED_LINEAR, "buy", 4, 58_000, at + 3 * DAY, fee=-1)
    return Due("80", "-2.2")


def settled_in_coin(book: OkxLife, at: datetime) -> Due:
    book.trade(DATED, "buy", 100, 60_000, at, fee=0)
    book.settle(DATED, 61_000, at + DAY)
    book.deliver(DATED, 64_000, at + 2 * DAY)
    gain = Decimal(10_000) / 60_000 - Decimal(10_000) / 64_000
    return Due(str(gain), currency="BTC")


def exercised(book: OkxLife, at: datetime) -> Due:
    book.trade(CALL, "buy", 50, "0.02", at, fee="-0.0001")
    book.trade(CALL, "sell", 20, "0.03", at + HOUR, fee="-0.0001")
    book.exercise(CALL, "0.0437", at + DAY)
    return Due("0.00911", "-0.0002", currency="BTC")


def expired_worthless(book: OkxLife, at: datetime) -> Due:
    book.trade(CALL, "sell", 50, "0.02", at, fee="-0.0001")
    book.exercise(CALL, 0, at + DAY)
    return Due("0.01", "-0.0001", currency="BTC")


def open_option(book: OkxLife, at: datetime) -> Due:
    book.trade(CALL, "buy", 50, "0.02", at, fee="-0.0001")
    book.mark(CALL, "0.025")
    return Due("0", currency="BTC")


def assigned(book: OkxLife, at: datetime) -> Due:
    book.trade(CALL, "sell", 50, "0.02", at, fee=0)
    book.exercise(CALL, "0.0437", at + DAY)
    return Due("-0.01185", currency="BTC")


def reduced(book: OkxLife, at: datetime) -> Due:
    book.trade(BTC, "buy", 10, 60_000, at, fee=-3)
    book.reduce(BTC, 4, 61_000, at + HOUR, kind="adl")
    book.reduce(BTC, 3, 59_000, at + 2 * HOUR, kind="liquidation")
    book.liquidate(BTC, 58_000, at + 3 * HOUR, penalty=-7)
    return Due("-50", "-3", other="-7")


def isolated(book: OkxLife, at: datetime) -> Due:
    book.trade(BTC, "buy", 10, 60_000, at, fee=-3, mgn_mode="isolated")
    book.funding(BTC, at + HOUR, amount=-2)
    book.trade(BTC, "sell", 4, 61_000, at + 2 * HOUR, fee=-1, mgn_mode="isolated")
    book.trade(BTC, "sell", 6, 61_000, at + 3 * HOUR, fee=-1, mgn_mode="isolated")
    return Due("100", "-5", "-2")


def isolated_liquidated(book: OkxLife, at: datetime) -> Due:
    book.trade(BTC, "buy", 10, 60_000, at, fee=-3, mgn_mode="isolated")
    book.funding(BTC, at + HOUR, amount=-2)
    book.liquidate_isolated(BTC, 54_500, at + 2 * HOUR)
    return Due("-550", "-3", "-2", "-48")


def isolated_and_open(book: OkxLife, at: datetime) -> Due:
    book.trade(ETH, "sell", 10, 3_000, at, fee=-3, mgn_mode="isolated")
    book.mark(ETH, 2_900)
    return Due("0")


def charged_in_a_third_coin(book: OkxLife, at: datetime) -> Due:
    book.trade(BTC, "buy", 10, 60_000, at, fee="-0.1", fee_ccy="OKB")
    book.trade(BTC, "sell", 10, 61_000, at + HOUR, fee="-0.1", fee_ccy="OKB")
    return Due("100", "-10.1")


def spot_charged_in_a_third_coin(book: OkxLife, at: datetime) -> Due:
    book.trade(SPOT, "buy", 10, 60, at, fee="-0.1", fee_ccy="OKB")
    book.trade(SPOT, "sell", 10, 70, at + HOUR, fee="0.02", fee_ccy="OKB")
    return Due("100", "-4.04")


def paid_in_coin(book: OkxLife, at: datetime) -> Due:
    """BTC-USD in an account of dollars: fee and gain at the price of their minutes."""
    book.trade(INVERSE, "buy", 100, 60_000, at, fee="-0.0001")
    book.trade(INVERSE, "sell", 100, 64_000, at + HOUR, fee="-0.0001")
    first, last = (btc_price(int(one.timestamp() * 1000)) for one in (at, at + HOUR))
    gain = (Decimal(10_000) / 60_000 - Decimal(10_000) / 64_000) * last
    return Due(str(gain), str(-(first + last) / 10_000))


def on_margin(book: OkxLife, at: datetime) -> Due:
    """Borrowed coins are sold and bought back in multi-currency mode; interest is paid in coin."""
    book.profile.acct_lv = "3"
    book.closes["LTC-USDT"] = lambda _: Decimal(65)
    book.trade(SPOT, "sell", 10, 70, at, fee="-0.7", is_on_margin=True)
    book.entry("LTC", "-0.02", at + HOUR, "7", "9")
    book.trade(SPOT, "buy", "10.02", 60, at + 2 * HOUR, fee=0, is_on_margin=True)
    return Due("100", "-0.7", other="-1.3")


def on_margin_and_open(book: OkxLife, at: datetime) -> Due:
    book.profile.acct_lv = "4"
    book.trade(SPOT, "buy", 4, 60, at, fee="-0.004")
    book.trade(SPOT, "sell", 10, 70, at + HOUR, fee=0, is_on_margin=True)
    return Due("39.96", "-0.24")


def interest_and_clawback(book: OkxLife, at: datetime) -> Due:
    book.entry("USDT", "-1.5", at, "7", "9")
    book.entry("BTC", "-0.001", at, "7", "9")
    book.trade(SOL, "buy", 1, 100, at, fee=0)
    book.trade(SOL, "sell", 1, 110, at + HOUR, fee=0)
    book.claw_back(SOL, "-2", at + 2 * HOUR)
    coin = btc_price(int(at.timestamp() * 1000)) / 1_000
    return Due("10", other=str(-coin - Decimal("3.5")))


def moved_about(book: OkxLife, at: datetime) -> Due:
    """Deposits, withdrawals, sub-accounts, conversions: none of it is earned."""
    book.deposit("USDT", 500, at)
    book.deposit("USDT", -200, at + HOUR)
    book.entry("USDT", "-300", at + 2 * HOUR, "1", "12")
    book.entry("USDT", "40", at + 3 * HOUR, "12", "200")
    book.convert("USDT", 610, "BTC", "0.01", at + 4 * HOUR)
    return Due("0")


Events = Callable[[OkxLife, datetime], Due]
CASES: tuple[Events, ...] = (
    swaps, settled_future, settled_and_open, settled_in_coin, exercised, expired_worthless,
    open_option, assigned, reduced, isolated, isolated_liquidated, isolated_and_open,
    on_margin, on_margin_and_open, charged_in_a_third_coin, spot_charged_in_a_third_coin,
    paid_in_coin, interest_and_clawback, moved_about,
)  # fmt: skip


class Befallen(NamedTuple):
    """One night in which every case befell an account of its own, by the case's name."""

    accounts: dict[str, Entry]
    due: dict[str, Due]
    with_contracts: set[str]


@pytest.fixture(scope="module")
def befallen(tmp_path_factory: pytest.TempPathFactory) -> Befallen:
    folder = tmp_path_factory.mktemp("cases")
    due: dict[str, Due] = {}
    with ExitStack() as stack:
        desks = []
        for events in CASES:
            book = life(BTC="10", OKB="10")
            name = events.__name__
            due[name] = events(book, OPENING + DAY)
            desk = Desk(id=name, instrument_types=TYPES, currency=due[name].currency)
            desks.append((desk, stack.enter_context(serving(book))))
        bots = [Trader(id=f"bot-{desk.id}", account=desk.id) for desk, _ in desks]
        document = run_desks(folder, desks, bots=bots)
    query = """
        select distinct account from evidence.fills
        where instrument_kind not in ('spot', 'margin')
    """
    return Befallen(
        {entry["account"]: entry for entry in document["accounts"]},
        due,
        {account for (account,) in rows(folder, query)},
    )


@pytest.mark.parametrize("case", [case.__name__ for case in CASES])
def test_it_is_proven_and_due_to_the_last_digit(case: str, befallen: Befallen) -> None:
    entry, due = befallen.accounts[case], befallen.due[case]
    assert entry["status"] == "proven", entry["reasons"]
    for name in ("gross", "fees", "funding", "other"):
        off = Decimal(entry["window"][name]) - Decimal(getattr(due, name))
        assert abs(off) < Decimal("1e-9"), (name, entry["window"][name], getattr(due, name))
    proofs = {"positions": "closed", "cash": "closed", "equity": "closed"}
    assert proofs.items() <= proof_statuses(entry).items()
    is_contract = case in befallen.with_contracts
    assert entry["proofs"]["broker_pnl"]["status"] == ("closed" if is_contract else "absent")


def test_what_margin_borrows_elsewhere_is_named_and_not_valued(tmp_path: Path) -> None:
    book = life()
    book.trade(SPOT, "sell", 10, 70, OPENING + DAY, fee=0, is_on_margin=True)
    [entry] = night(book, tmp_path)["accounts"]
    assert entry["status"] == "unproven"
    assert any("neither in multi-currency nor in portfolio mode" in why for why in entry["reasons"])


@pytest.mark.parametrize("seed", seeds(1, 4))
def test_of_a_whole_life_every_number_is_the_reckoner_s(seed: int, tmp_path: Path) -> None:
    life = Life(random.Random(f"life{seed}"))
    life.live(120)
    document = night(life.book, tmp_path)
    [entry] = document["accounts"]
    assert entry["status"] == "proven", entry["reasons"]
    assert set(proof_statuses(entry).values()) == {"closed"}
    for name in ("gross", "fees", "funding", "other"):
        assert abs(Fraction(entry["window"][name]) - life.due[name]) < Fraction(1, 10**9), name


def harmed(book: OkxLife, harm: str, rng: random.Random) -> tuple[str, Row]:
    """Lose, double or alter one fill or one entry of the ledger; return which."""
    kind, tape = rng.choice([("fill", book.fills), ("bill", book.bills)])
    since = int(OPENING.timestamp() * 1000)
    place = rng.choice([n for n, at_ms in enumerate(tape.times_ms) if at_ms > since])
    row = tape.rows[place]
    if harm == "lost":
        for rows_of in (tape.ids, tape.times_ms, tape.rows):
            del rows_of[place]
    elif harm == "doubled":
        number = tape.ids[-1] + 10**9
        tape.append(number, tape.times_ms[place], row | {"billId": str(number)})
    else:
        names = ("fillSz", "fillPx", "fee") if kind == "fill" else ("bal", "balChg")
        name = rng.choice(names)
        tape.rows[place] = row | {name: f"1{str(row[name]).lstrip('-')}"}
    return kind, row


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_of_a_life_with_one_record_lost_doubled_or_altered_nothing_reads_proven(
    seed: int, tmp_path: Path
) -> None:
    cases, changed = {}, {}
    for harm in ("lost", "doubled", "altered"):
        rng = random.Random(f"{harm}{seed}")
        lived = Life(rng)
        lived.live(60)
        changed[harm] = harmed(lived.book, harm, rng)
        cases[harm] = Case(lived.book, TYPES)
    told = shared_night(tmp_path, cases)
    assert {harm: one["status"] for harm, one in told.items()} == dict.fromkeys(
        cases, "unproven"
    ), changed
