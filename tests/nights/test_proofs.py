"""What makes an account unproven: one row missing, doubled, changed or not understood.

Each night holds the disturbed account and an intact one beside it, whose bot agrees: so the night
ends unproven, with exit code 3, and nothing of it touches the intact one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from recon.core.numbers import text
from recon.core.tolerance import EXIT_CODES
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_instruments import Row
from recon.demo.venues.okx_tape import Tape
from tests.conftest import slow_after
from tests.support.fleet import (
    BTC,
    ETH,
    NOW,
    OPENING,
    SOL,
    Desk,
    Document,
    Trader,
    account,
    round_trips,
    rows,
    run_desks,
    serving,
)

TRIPS = 15
FILLS = 4 * TRIPS
AT_ONCE = 20
INTACT = "intact"
DAY = timedelta(days=1)

Entry = dict[str, Any]
Disturb = Callable[[OkxAccount], object]


def sixty() -> OkxAccount:
    """60 fills in 15 round trips of BTC and ETH, each with a funding; flat at its end."""
    book = account()
    round_trips(book, TRIPS)
    assert len(book.fills.rows) == FILLS
    return book


def earned(book: OkxAccount) -> str:
    changes = (Decimal(str(row["balChg"])) for row in book.bills.rows if row["type"] != "1")
    return text(sum(changes, Decimal(0)))


def hide(tape: Tape, place: int) -> Row:
    """Take a row off a tape, as if the venue had never served it."""
    del tape.ids[place], tape.times_ms[place]
    return tape.rows.pop(place)


def place_of(tape: Tape, bill_id: object) -> int:
    return [row["billId"] for row in tape.rows].index(bill_id)


def night(folder: Path, books: dict[str, OkxAccount], **desk: Any) -> Document:
    """Run one night of these accounts and the intact one; every bot claims what is true."""
    claim = earned(sixty())
    with ExitStack() as stack:
        desks = [
            (
                replace(Desk(name), **({} if name == INTACT else desk)),
                stack.enter_context(serving(book)),
            )
            for name, book in {**books, INTACT: sixty()}.items()
        ]
        bots = [
            Trader(f"bot-{one.id}", one.id, claims=((OPENING + DAY, claim),)) for one, _ in desks
        ]
        return run_desks(folder, desks, bots=bots)


def unproven(document: Document, name: str, *, bot: str = "unproven") -> Entry:
    """Return the account `name`, which must be unproven in words, at exit code 3.

    Its bot is unproven as well, unless the finding is of an instrument that the bot does not trade.
    """
    entries = {entry["account"]: entry for entry in document["accounts"]}
    bots = {bot["account"]: bot for bot in document["bots"]}
    assert (entries[INTACT]["status"], bots[INTACT]["status"]) == ("proven", "agreed")
    entry = entries[name]
    assert isinstance(entry, dict)
    assert entry["status"] == "unproven", {**entry, "bot": bots[name]["status"]}
    assert bots[name]["status"] == bot
    assert bool(bots[name]["reasons"]) == (bot == "unproven")
    assert entry["reasons"]
    assert all(isinstance(reason, str) and reason for reason in entry["reasons"])
    assert document["status"] == "unproven"
    assert EXIT_CODES[document["status"]] == 3
    return entry


def each_at_once(
    folder: Path, places: range, disturb: Callable[[OkxAccount, int], object]
) -> dict[str, Entry]:
    books = {}
    for place in places:
        book = deepcopy(sixty())
        disturb(book, place)
        books[f"n{place}"] = book
    document = night(folder, books)
    return {name: unproven(document, name) for name in books}


SOME = range(0, FILLS, 7)
"""Fills of each instrument, at each step of a round trip; of the first trip and the last."""
PLACES = slow_after(1, [SOME, *(range(at, at + AT_ONCE) for at in range(0, FILLS, AT_ONCE))])


@pytest.mark.parametrize("places", PLACES, ids=str)
def test_any_one_fill_missing_breaks_positions_and_cash(places: range, tmp_path: Path) -> None:
    found = each_at_once(tmp_path, places, lambda book, place: hide(book.fills, place))
    for entry in found.values():
        assert (
            entry["proofs"]["positions"]["status"] == entry["proofs"]["cash"]["status"] == "broken"
        )
        [difference] = entry["proofs"]["positions"]["differences"].values()
        assert Decimal(difference) in {Decimal(n) for n in (-6, -4, 3, 7)}


@pytest.mark.parametrize("places", PLACES, ids=str)
def test_any_one_bill_of_a_fill_missing_breaks_cash(places: range, tmp_path: Path) -> None:
    def disturb(book: OkxAccount, place: int) -> None:
        row = hide(book.bills, place_of(book.bills, book.fills.rows[place]["billId"]))
        assert row["type"] == "2"

    for entry in each_at_once(tmp_path, places, disturb).values():
        assert entry["proofs"]["cash"]["status"] == "broken"
        assert entry["proofs"]["positions"]["status"] == "closed"
        assert Decimal(entry["proofs"]["cash"]["differences"]["USDT"])


@pytest.mark.parametrize("places", PLACES, ids=str)
def test_any_one_fill_missing_with_its_bill_breaks_positions_and_the_chain(
    places: range, tmp_path: Path
) -> None:
    def disturb(book: OkxAccount, place: int) -> None:
        hide(book.bills, place_of(book.bills, hide(book.fills, place)["billId"]))

    for entry in each_at_once(tmp_path, places, disturb).values():
        assert (
            entry["proofs"]["positions"]["status"] == entry["proofs"]["cash"]["status"] == "broken"
        )


def funding_bills(book: OkxAccount) -> list[int]:
    return [place for place, row in enumerate(book.bills.rows) if row["type"] == "8"]


@pytest.mark.parametrize("trips", slow_after(1, [range(0, TRIPS, 7), range(TRIPS)]), ids=str)
def test_any_one_funding_missing_breaks_the_chain(trips: range, tmp_path: Path) -> None:
    found = each_at_once(tmp_path, trips, lambda book, n: hide(book.bills, funding_bills(book)[n]))
    for entry in found.values():
        assert entry["proofs"]["cash"]["status"] == "broken"
        assert entry["proofs"]["cash"]["differences"]["USDT"] == "-0.125"


def changed(key: str, value: str, *, of: str = "fills", place: int = 30) -> Disturb:
    def disturb(book: OkxAccount) -> None:
        tape: Tape = getattr(book, of)
        assert tape.rows[place][key] != value
        tape.rows[place][key] = value

    return disturb


def twice_under_one_id(book: OkxAccount) -> None:
    for values in (book.fills.ids, book.fills.times_ms, book.fills.rows):
        values.insert(30, values[30])  # type: ignore[arg-type]


def twice_under_two_ids(book: OkxAccount) -> None:
    row = {**book.fills.rows[30], "billId": str(book.fills.ids[-1] + 1)}
    book.fills.append(book.fills.ids[-1] + 1, book.fills.times_ms[30], row)


def a_trip_twice(book: OkxAccount) -> None:
    for place in range(4):
        row_id = book.fills.ids[-1] + 1
        row = {**book.fills.rows[place], "billId": str(row_id)}
        book.fills.append(row_id, book.fills.times_ms[place], row)


def balance_off(book: OkxAccount) -> None:
    book._balances["USDT"] += Decimal("0.00000001")


def balance_gone(book: OkxAccount) -> None:
    del book._balances["USDT"]


def held_and_not_filled(book: OkxAccount) -> None:
    book.trade(BTC, "buy", 5, 2_000, NOW - DAY)
    book._open[BTC, "net"].qty = Decimal(6)


def held_the_other_way_round(book: OkxAccount) -> None:
    book.trade(BTC, "buy", 5, 2_000, NOW - DAY)
    book._open[BTC, "net"].qty = Decimal(-5)


def held_from_nowhere(book: OkxAccount) -> None:
    book.trade(SOL, "buy", 5, 2_000, NOW - DAY)
    hide(book.fills, -1)


def ledger_of_an_unknown_type(book: OkxAccount) -> None:
    book.entry("USDT", "-1", NOW - DAY, "99", "999")


def conversion(book: OkxAccount) -> None:
    book.entry("USDT", "-1", NOW - DAY, "4", "115")


def interest_in_another_coin(book: OkxAccount) -> None:
    book.deposit("BTC", 1, NOW - 2 * DAY)
    book.entry("BTC", "-0.0001", NOW - DAY, "7", "9")


def unlisted(book: OkxAccount) -> None:
    del book.instruments[ETH]


def settled_in_bitcoin(book: OkxAccount) -> None:
    book.deposit("BTC", 1, NOW - 2 * DAY)
    book.trade("BTC-USD-SWAP", "buy", 5, 2_000, NOW - DAY)
    book.trade("BTC-USD-SWAP", "sell", 5, 2_100, NOW - DAY)


def spot_is_not_configured(book: OkxAccount) -> None:
    book.deposit("LTC", 10, NOW - 2 * DAY)
    book.trade("LTC-USDT", "sell", 3, 80, NOW - DAY)


def all_is_empty(book: OkxAccount) -> None:
    for tape in (book.fills, book.bills):
        while tape.rows:
            hide(tape, 0)


CASES: dict[str, tuple[Disturb, str]] = {
    "a page with one row twice": (twice_under_one_id, "fills"),
    "one fill twice under two ids": (twice_under_two_ids, "positions"),
    "a whole round trip twice under other ids": (a_trip_twice, ""),
    "the fee of a fill is not what the ledger took": (changed("fee", "-0.25"), "cash"),
    "the fee of a fill is 0 and the ledger took one": (changed("fee", "0"), "cash"),
    "the price of a fill is not what the ledger took": (changed("fillPx", "9000"), "cash"),
    "the price of an opening fill is off": (changed("fillPx", "1999", place=0), "cash"),
    "a fill is dated a day later than the ledger has it": (
        changed("ts", str(int((OPENING + 9 * DAY).timestamp() * 1000))),
        "",
    ),
    "the size of a fill": (changed("fillSz", "5"), "positions"),
    "the side of a fill": (changed("side", "sell", place=28), "positions"),
    "the instrument of a fill": (changed("instId", SOL), "positions"),
    "the trade id of a fill": (changed("tradeId", "999"), "cash"),
    "the trade id of a bill": (changed("tradeId", "999", of="bills", place=40), "cash"),
    "the change of a bill": (changed("balChg", "5", of="bills", place=40), "cash"),
    "the balance after a bill": (changed("bal", "5", of="bills", place=40), "cash"),
    "the currency of a bill": (changed("ccy", "BTC", of="bills", place=40), "cash"),
    "the stated balance is off by a hundred-millionth": (balance_off, "cash"),
    "the balance is not stated at all": (balance_gone, "cash"),
    "the stated position is larger": (held_and_not_filled, "positions"),
    "the stated position is on the other side": (held_the_other_way_round, "positions"),
    "a position and a bill without a fill": (held_from_nowhere, "positions"),
    "an unknown ledger type": (ledger_of_an_unknown_type, ""),
    "a conversion": (conversion, ""),
    "a blank fee": (changed("fee", ""), ""),
    "a blank price": (changed("fillPx", ""), ""),
    "an unreadable size": (changed("fillSz", "1,5"), ""),
    "a size with more digits than are kept": (changed("fillSz", "1." + "1" * 19), ""),
    "a fee in a third coin": (changed("feeCcy", "OKB"), ""),
    "a fee in no coin": (changed("feeCcy", ""), ""),
    "an instrument that is not listed": (unlisted, ""),
    "spot trades, and only swaps configured": (spot_is_not_configured, ""),
    "neither fills nor bills, and yet a balance": (all_is_empty, ""),
    "a size of twenty digits": (changed("fillSz", "9" * 20), ""),
    "a price of twenty digits": (changed("fillPx", "9" * 20), ""),
    "a balance of twenty digits": (changed("bal", "-" + "9" * 20, of="bills", place=40), ""),
    "a fill of the year 33658": (changed("ts", "9" * 15), ""),
    "a funding of the year 33658": (changed("ts", "9" * 15, of="bills", place=43), ""),
    "a funding of the year 1970": (changed("ts", "1", of="bills", place=3), ""),
}

NOT_THE_BOTS = {
    "interest in another coin": interest_in_another_coin,
    "an instrument that settles in bitcoin": settled_in_bitcoin,
}


@pytest.fixture(scope="module")
def case_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Entry]:
    """Give what becomes of a case, by its number: twenty share a night, an account each."""

    @cache
    def played(first: int) -> Document:
        books = {}
        for number, (disturb, _) in list(enumerate(CASES.values()))[first : first + AT_ONCE]:
            books[f"case{number}"] = book = sixty()
            disturb(book)
        return night(tmp_path_factory.mktemp("cases"), books)

    return lambda number: unproven(played(number - number % AT_ONCE), f"case{number}")


@pytest.mark.parametrize(
    ("number", "proof"),
    [(number, proof) for number, (_, proof) in enumerate(CASES.values())],
    ids=CASES,
)
def test_it_is_never_proven(case_of: Callable[[int], Entry], number: int, proof: str) -> None:
    entry = case_of(number)

    if proof == "fills":
        assert entry["coverage"]["fills"] == "failed"
    elif proof:
        assert entry["proofs"][proof]["status"] == "broken"
        assert entry["proofs"][proof]["differences"]


def test_a_finding_of_an_instrument_leaves_bots_of_others_judged(tmp_path: Path) -> None:
    books = {f"other{number}": sixty() for number, _ in enumerate(NOT_THE_BOTS)}
    for book, disturb in zip(books.values(), NOT_THE_BOTS.values(), strict=True):
        disturb(book)

    document = night(tmp_path, books)

    for name in books:
        unproven(document, name, bot="agreed")


def test_a_position_older_than_since_is_not_proven(tmp_path: Path) -> None:
    book = account()
    round_trips(book, TRIPS)
    book.trade(SOL, "buy", 5, 100, OPENING)  # served, and before `since`
    book.trade(SOL, "sell", 2, 100, NOW - 2 * DAY)

    entry = unproven(
        night(tmp_path, {"disturbed": book}, since=(OPENING + DAY).date()), "disturbed"
    )

    assert entry["proofs"]["positions"]["status"] == "broken"
    assert entry["proofs"]["positions"]["differences"] == {SOL: "-5.00"}
    assert any(SOL in reason and "since" in reason for reason in entry["reasons"])


def test_a_position_older_than_since_that_closed_is_not_proven_either(tmp_path: Path) -> None:
    book = account()
    book.trade(SOL, "buy", 5, 100, OPENING)
    book.trade(SOL, "sell", 5, 100, NOW - 2 * DAY)

    entry = unproven(
        night(tmp_path, {"disturbed": book}, since=(OPENING + DAY).date()), "disturbed"
    )

    assert entry["proofs"]["positions"]["status"] == "broken"


def test_the_reason_names_the_instrument_type_to_add(tmp_path: Path) -> None:
    book = sixty()
    spot_is_not_configured(book)
    entry = unproven(night(tmp_path, {"disturbed": book}), "disturbed")
    assert any('add "SPOT" to instrument_types' in reason for reason in entry["reasons"])


def test_the_oldest_funding_missing_is_noticed_though_no_entry_is_before_it(
    tmp_path: Path,
) -> None:
    book = OkxAccount(now=lambda: NOW)
    book.deposit("USDT", 100_000, OPENING - 10 * DAY)  # before the window
    book.trade(BTC, "buy", 5, 2_000, OPENING - 9 * DAY)
    book.trade(BTC, "sell", 5, 2_000, OPENING - 8 * DAY)
    book.funding(BTC, OPENING, amount="-250")
    round_trips(book, 3)
    hide(book.bills, 3)

    unproven(night(tmp_path, {"disturbed": book}), "disturbed")


def test_the_oldest_round_trips_missing_in_fills_and_ledger_alike_are_noticed(
    tmp_path: Path,
) -> None:
    book = account()
    round_trips(book, TRIPS)
    while book.fills.times_ms[0] < (OPENING + 3 * DAY).timestamp() * 1000:
        hide(book.fills, 0)
    while book.bills.times_ms[0] < book.fills.times_ms[0]:
        hide(book.bills, 0)
    assert len(book.fills.rows) == FILLS - 24

    unproven(night(tmp_path, {"disturbed": book}), "disturbed")


def test_the_document_says_since_when_the_evidence_is_whole(tmp_path: Path) -> None:
    book = sixty()
    with serving(book) as server:
        document = run_desks(tmp_path, [(Desk(), server)])
    [entry] = document["accounts"]
    assert entry["proven_window"] == {
        "from": f"{OPENING:%Y-%m-%dT00:00:00Z}",
        "to": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
    }


def test_each_statement_keeps_what_it_saw(tmp_path: Path) -> None:
    book = sixty()
    with serving(book) as server:
        run_desks(tmp_path, [(Desk(), server)])
    said = rows(
        tmp_path,
        "select kind, rows, first_id, last_id, retries, skew_ms between -7000 and 7000 "
        "from raw.coverage where evidence = 'fills' order by rows desc limit 1",
    )
    numbers = sorted(int(str(row["billId"])) for row in book.fills.rows)
    assert said == [("fill/SWAP", FILLS, str(numbers[0]), str(numbers[-1]), 0, True)]
