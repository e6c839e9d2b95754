"""What makes an account unproven: one row missing, doubled, changed or not understood.

Each night holds the disturbed account and an intact one beside it, whose bot agrees: so the night
ends unproven, with exit code 3, and nothing of it touches the intact one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

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
AT_ONCE = 21
INTACT = "intact"
DAY = timedelta(days=1)

Entry = dict[str, Any]
Disturb = Callable[[OkxAccount], object]


def says(entry: Entry, pattern: str) -> None:
    """See that one of an account's reasons begins so; `#` is any number, `*` anything."""
    reasons = [re.sub(r"-?\d[\d.]*", "#", reason) for reason in entry["reasons"]]
    assert any(fnmatchcase(reason, f"{pattern}*") for reason in reasons), (pattern, reasons)


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


def hide_fill(book: OkxAccount, place: int) -> None:
    hide(book.fills, place)


def hide_bill_of_fill(book: OkxAccount, place: int) -> None:
    row = hide(book.bills, place_of(book.bills, book.fills.rows[place]["billId"]))
    assert row["type"] == "2"


def hide_both(book: OkxAccount, place: int) -> None:
    hide(book.bills, place_of(book.bills, hide(book.fills, place)["billId"]))


def hide_funding(book: OkxAccount, trip: int) -> None:
    bills = [place for place, row in enumerate(book.bills.rows) if row["type"] == "8"]
    hide(book.bills, bills[trip])


HIDING: dict[str, Callable[[OkxAccount, int], None]] = {
    "fill": hide_fill,
    "bill": hide_bill_of_fill,
    "both": hide_both,
    "funding": hide_funding,
}
SOME = range(0, FILLS, 7)
"""Fills of each instrument, at each step of a round trip; of the first trip and the last."""
PLACES = slow_after(1, [SOME, *(range(at, at + AT_ONCE) for at in range(0, FILLS, AT_ONCE))])
SOME_TRIPS = range(0, TRIPS, 7)
ALWAYS = {"fill": SOME, "bill": SOME, "both": SOME, "funding": SOME_TRIPS}
Missing = Callable[[str, range], list[Entry]]


@pytest.fixture(scope="module")
def missing(tmp_path_factory: pytest.TempPathFactory) -> Missing:
    """Give the accounts that lack one record each: of a kind, at these places.

    What always runs shares a night.
    """

    @cache
    def played(*lacking: tuple[str, range]) -> Document:
        books = {}
        for kind, places in lacking:
            for place in places:
                books[f"{kind}{place}"] = book = sixty()
                HIDING[kind](book, place)
        return night(tmp_path_factory.mktemp("missing"), books)

    def found(kind: str, places: range) -> list[Entry]:
        always = ALWAYS[kind] == places
        document = played(*ALWAYS.items()) if always else played((kind, places))
        return [unproven(document, f"{kind}{place}") for place in places]

    return found


@pytest.mark.parametrize("places", PLACES, ids=str)
def test_any_one_fill_missing_breaks_positions_and_cash(places: range, missing: Missing) -> None:
    for entry in missing("fill", places):
        assert (
            entry["proofs"]["positions"]["status"] == entry["proofs"]["cash"]["status"] == "broken"
        )
        [difference] = entry["proofs"]["positions"]["differences"].values()
        assert Decimal(difference) in {Decimal(n) for n in (-6, -4, 3, 7)}
        says(entry, "positions: *: the fills add up to #, the statement says #")
        says(entry, "cash: USDT: ledger entry # (*) has no fill")


@pytest.mark.parametrize("places", PLACES, ids=str)
def test_any_one_bill_of_a_fill_missing_breaks_cash(places: range, missing: Missing) -> None:
    for entry in missing("bill", places):
        assert entry["proofs"]["cash"]["status"] == "broken"
        assert entry["proofs"]["positions"]["status"] == "closed"
        assert Decimal(entry["proofs"]["cash"]["differences"]["USDT"])
        says(entry, "cash: USDT: fill # (*) moved no cash in the ledger")


@pytest.mark.parametrize("places", PLACES, ids=str)
def test_any_one_fill_missing_with_its_bill_breaks_positions_and_the_chain(
    places: range, missing: Missing
) -> None:
    for entry in missing("both", places):
        assert (
            entry["proofs"]["positions"]["status"] == entry["proofs"]["cash"]["status"] == "broken"
        )
        says(entry, "positions: *: the fills add up to #, the statement says #")
        says(entry, "cash: USDT: *")


@pytest.mark.parametrize("trips", slow_after(1, [SOME_TRIPS, range(TRIPS)]), ids=str)
def test_any_one_funding_missing_breaks_the_chain(trips: range, missing: Missing) -> None:
    for entry in missing("funding", trips):
        assert entry["proofs"]["cash"]["status"] == "broken"
        assert entry["proofs"]["cash"]["differences"]["USDT"] == "-0.125"
        says(entry, "cash: USDT: the chain is broken before entry #")


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


def oldest_funding_missing(_: OkxAccount) -> OkxAccount:
    """Return another account, with a deposit and a round trip before the window."""
    book = OkxAccount(now=lambda: NOW)
    book.deposit("USDT", 100_000, OPENING - 10 * DAY)
    book.trade(BTC, "buy", 5, 2_000, OPENING - 9 * DAY)
    book.trade(BTC, "sell", 5, 2_000, OPENING - 8 * DAY)
    book.funding(BTC, OPENING, amount="-250")
    round_trips(book, 3)
    hide(book.bills, 3)
    return book


def oldest_trips_missing(book: OkxAccount) -> None:
    while book.fills.times_ms[0] < (OPENING + 3 * DAY).timestamp() * 1000:
        hide(book.fills, 0)
    while book.bills.times_ms[0] < book.fills.times_ms[0]:
        hide(book.bills, 0)
    assert len(book.fills.rows) == FILLS - 24


class Case(NamedTuple):
    """What is done to an account, the proof that breaks ("" is none, "fills" unread), the reason.

    Of its reasons one begins so; see `says`. `bot` is the status of the bot.
    """

    disturb: Disturb
    proof: str
    reason: str
    bot: str = "unproven"


CASES = {
    "a page with one row twice": Case(
        twice_under_one_id,
        "fills",
        "fills: trade/fills-history: pages overlap or are out of order at billId #",
    ),
    "one fill twice under two ids": Case(
        twice_under_two_ids,
        "positions",
        "positions: ETH-USDT-SWAP: the fills add up to #, the statement says #",
    ),
    "a whole round trip twice under other ids": Case(
        a_trip_twice, "", "cash: USDT: # fills and # ledger entries are trade # of BTC-USDT-SWAP"
    ),
    "the fee of a fill is not what the ledger took": Case(
        changed("fee", "-0.25"), "cash", "cash: USDT: fill # says another fee than the ledger"
    ),
    "the fee of a fill is 0 and the ledger took one": Case(
        changed("fee", "0"), "cash", "cash: USDT: fill # says another fee than the ledger"
    ),
    "the price of a fill is not what the ledger took": Case(
        changed("fillPx", "9000"), "cash", "cash: USDT: fill # says another price than the ledger"
    ),
    "the price of an opening fill is off": Case(
        changed("fillPx", "1999", place=0),
        "cash",
        "cash: USDT: fill # says another price than the ledger",
    ),
    "a fill is dated a day later than the ledger has it": Case(
        changed("ts", str(int((OPENING + 9 * DAY).timestamp() * 1000))),
        "",
        "cash: USDT: fill # says another time than the ledger",
    ),
    "the size of a fill": Case(
        changed("fillSz", "5"), "positions", "cash: USDT: fill # says another size than the ledger"
    ),
    "the side of a fill": Case(
        changed("side", "sell", place=28),
        "positions",
        "positions: ETH-USDT-SWAP: the fills add up to #, the statement says #",
    ),
    "the instrument of a fill": Case(
        changed("instId", SOL),
        "positions",
        "cash: USDT: fill # (SOL-USDT-SWAP) moved no cash in the ledger",
    ),
    "the trade id of a fill": Case(
        changed("tradeId", "999"),
        "cash",
        "cash: USDT: fill # (ETH-USDT-SWAP) moved no cash in the ledger",
    ),
    "the trade id of a bill": Case(
        changed("tradeId", "999", of="bills", place=40),
        "cash",
        "cash: USDT: ledger entry # (ETH-USDT-SWAP) has no fill",
    ),
    "the change of a bill": Case(
        changed("balChg", "5", of="bills", place=40),
        "cash",
        "cash: USDT: the chain is broken before entry #",
    ),
    "the balance after a bill": Case(
        changed("bal", "5", of="bills", place=40),
        "cash",
        "cash: USDT: the chain is broken before entry #",
    ),
    "the currency of a bill": Case(
        changed("ccy", "BTC", of="bills", place=40),
        "cash",
        "cash: USDT: the chain is broken before entry #",
    ),
    "the stated balance is off by a hundred-millionth": Case(
        balance_off, "cash", "cash: USDT: the last entry is not the balance that the venue states"
    ),
    "the balance is not stated at all": Case(
        balance_gone, "cash", "cash: USDT: the last entry is not the balance that the venue states"
    ),
    "the stated position is larger": Case(
        held_and_not_filled,
        "positions",
        "positions: BTC-USDT-SWAP: the fills add up to #, the statement says #",
    ),
    "the stated position is on the other side": Case(
        held_the_other_way_round,
        "positions",
        "positions: BTC-USDT-SWAP: the fills add up to #, the statement says #",
    ),
    "a position and a bill without a fill": Case(
        held_from_nowhere, "positions", "cash: USDT: ledger entry # (SOL-USDT-SWAP) has no fill"
    ),
    "an unknown ledger type": Case(
        ledger_of_an_unknown_type,
        "",
        "the ledger shows an entry in USDT of subType #, type #, which is not known",
    ),
    "a conversion": Case(
        conversion, "", "the ledger shows one side of a conversion in USDT, and not the other"
    ),
    "a blank fee": Case(
        changed("fee", ""), "", "fill #: fee is missing or unreadable: unknown, and never #"
    ),
    "a blank price": Case(changed("fillPx", ""), "", "fill #: fillPx is not a price"),
    "an unreadable size": Case(changed("fillSz", "1,5"), "", "fill #: fillSz is not a quantity"),
    "a size with more digits than are kept": Case(
        changed("fillSz", "1." + "1" * 19), "", "fill #: fillSz is not a quantity"
    ),
    "a fee in a third coin": Case(
        changed("feeCcy", "OKB"), "", "ETH-USDT-SWAP: a fee in OKB has no known value in USDT"
    ),
    "a fee in no coin": Case(changed("feeCcy", ""), "", "fill #: feeCcy is not a currency"),
    "an instrument that is not listed": Case(
        unlisted,
        "",
        "fill # and # more: no contract value is known for ETH-USDT-SWAP: OKX does not list it",
    ),
    "spot trades, and only swaps configured": Case(
        spot_is_not_configured,
        "",
        'the ledger shows SPOT trades of LTC-USDT: add "SPOT" to instrument_types',
    ),
    "neither fills nor bills, and yet a balance": Case(
        all_is_empty, "", "positions: BTC-USDT-SWAP: the statement has a closed position"
    ),
    "a size of twenty digits": Case(
        changed("fillSz", "9" * 20), "", "fill #: fillSz is not a quantity"
    ),
    "a price of twenty digits": Case(
        changed("fillPx", "9" * 20), "", "fill #: fillPx is not a price"
    ),
    "a balance of twenty digits": Case(
        changed("bal", "-" + "9" * 20, of="bills", place=40), "", "bill #: bal is not an amount"
    ),
    "a fill of the year 33658": Case(
        changed("ts", "9" * 15), "", "fill #: ts is not a time at which OKX traded"
    ),
    "a funding of the year 33658": Case(
        changed("ts", "9" * 15, of="bills", place=43),
        "",
        "bill #: ts is not a time at which OKX traded",
    ),
    "a funding of the year 1970": Case(
        changed("ts", "1", of="bills", place=3), "", "bill #: ts is not a time at which OKX traded"
    ),
    "interest in another coin": Case(
        interest_in_another_coin, "", "BTC: interest in BTC, and no rate to USDT is known", "agreed"
    ),
    "an instrument that settles in bitcoin": Case(
        settled_in_bitcoin,
        "",
        "BTC-USD-SWAP: settles in BTC, and no rate to USDT is known",
        "agreed",
    ),
    "the oldest funding missing, and no entry is before it": Case(
        oldest_funding_missing, "cash", "cash: USDT: the chain is broken before entry #"
    ),
    "the oldest round trips missing in fills and ledger alike": Case(
        oldest_trips_missing,
        "positions",
        "positions: BTC-USDT-SWAP: the statement has a closed position",
    ),
}
"""A finding of an instrument leaves bots of other instruments judged."""


@pytest.fixture(scope="module")
def case_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Entry]:
    """Give what becomes of a case, by its number: many share a night, an account each."""

    @cache
    def played(first: int) -> Document:
        books = {}
        for number, case in list(enumerate(CASES.values()))[first : first + AT_ONCE]:
            book = sixty()
            other = case.disturb(book)
            books[f"case{number}"] = other if isinstance(other, OkxAccount) else book
        return night(tmp_path_factory.mktemp("cases"), books)

    def found(number: int) -> Entry:
        case = [*CASES.values()][number]
        return unproven(played(number - number % AT_ONCE), f"case{number}", bot=case.bot)

    return found


@pytest.mark.parametrize("number", range(len(CASES)), ids=CASES)
def test_it_is_never_proven_and_says_why(case_of: Callable[[int], Entry], number: int) -> None:
    entry, case = case_of(number), [*CASES.values()][number]

    says(entry, case.reason)
    if case.proof == "fills":
        assert entry["coverage"]["fills"] == "failed"
    elif case.proof:
        assert entry["proofs"][case.proof]["status"] == "broken"
        assert entry["proofs"][case.proof]["differences"]
    else:
        assert entry["coverage"]["fills"] == "complete"


def test_a_position_older_than_since_is_not_proven_even_if_it_closed(tmp_path: Path) -> None:
    held, closed = account(), account()
    round_trips(held, TRIPS)
    for book, sold in ((held, 2), (closed, 5)):
        book.trade(SOL, "buy", 5, 100, OPENING)  # served, and before `since`
        book.trade(SOL, "sell", sold, 100, NOW - 2 * DAY)

    books = {"held": held, "closed": closed}
    document = night(tmp_path, books, since=(OPENING + DAY).date())

    for name in books:
        entry = unproven(document, name)
        assert entry["proofs"]["positions"]["status"] == "broken"
        assert entry["proofs"]["positions"]["differences"] == {SOL: "-5.00"}
        assert any(SOL in reason and "since" in reason for reason in entry["reasons"])


def test_a_proven_account_says_since_when_and_by_which_statements(tmp_path: Path) -> None:
    book = sixty()
    with serving(book) as server:
        document = run_desks(tmp_path, [(Desk(), server)])
    [entry] = document["accounts"]
    assert entry["proven_window"] == {
        "from": f"{OPENING:%Y-%m-%dT00:00:00Z}",
        "to": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
    }
    said = rows(
        tmp_path,
        "select kind, rows, first_id, last_id, retries, skew_ms between -7000 and 7000 "
        "from raw.coverage where evidence = 'fills' order by rows desc limit 1",
    )
    numbers = sorted(int(str(row["billId"])) for row in book.fills.rows)
    assert said == [("fill/SWAP", FILLS, str(numbers[0]), str(numbers[-1]), 0, True)]
