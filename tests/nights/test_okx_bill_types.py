"""Every type and subtype of bill that OKX documents: computed, or a finding that names it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from connectors.okx.candles import PAID
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_tape import Tape
from recon.run.pipeline import LOT_KINDS
from recon.system.resources import sql_root
from tests.support.fleet import (
    BTC,
    ETH,
    NOW,
    OPENING,
    Desk,
    Document,
    Trader,
    account,
    figures,
    round_trips,
    rows,
    run_desks,
    serving,
)

PAGE = Path(__file__).parents[2] / "docs" / "venues" / "okx-bills.md"
CASH = ("transfer", "interest")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Pair(NamedTuple):
    """One type with one of its subtypes, as the table declares it."""

    bill_type: str
    type_name: str
    sub_type: str
    name: str
    kind: str
    finding: str | None


def declared() -> list[Pair]:
    query = (sql_root() / "staging" / "okx" / "bill_types.sql").read_text(encoding="utf-8")
    columns = ", ".join(Pair._fields)
    with duckdb.connect() as db:
        found = db.execute(
            f"select {columns} from ({query}) order by bill_type::int, sub_type::int"
        ).fetchall()
    return [Pair(*row) for row in found]


PAIRS = declared()
TRADES = [one for one in PAIRS if one.kind == "trade"]
FINDINGS = [one for one in PAIRS if one.finding]


def test_the_page_shows_the_table() -> None:
    shown = [
        tuple(cell.strip(" `") for cell in line.strip("|").split("|"))
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| \d", line)
    ]
    assert shown == [
        (
            one.bill_type,
            one.type_name,
            one.sub_type,
            one.name,
            *(("", f"finding: {one.finding}") if one.finding else (one.kind, "computed")),
        )
        for one in PAIRS
    ]


def test_a_pair_is_declared_once_and_a_type_has_one_name() -> None:
    assert len({(one.bill_type, one.sub_type) for one in PAIRS}) == len(PAIRS)
    assert len({(one.bill_type, one.type_name) for one in PAIRS}) == len(
        {one.bill_type for one in PAIRS}
    )


def test_rates_are_fetched_for_every_type_that_is_profit_or_loss() -> None:
    earns = {*LOT_KINDS, "exercise"}
    assert {one.bill_type for one in PAIRS if one.kind in earns} == PAID


def retyped(tape: Tape, places: range, pairs: list[Pair]) -> None:
    """Give the rows at these places of a tape the types and subtypes of the pairs, in turn."""
    for place, pair in zip(places, pairs, strict=True):
        row = tape.rows[place]
        row["subType"] = pair.sub_type
        if "balChg" in row:
            row["type"] = pair.bill_type


def traded() -> OkxAccount:
    """One fill for each pair that is a trade."""
    book = account()
    for turn in range(len(TRADES)):
        side: Any = "sell" if turn % 2 else "buy"
        book.trade(BTC, side, 3, 60_000 + 10 * turn, OPENING + turn * HOUR, fee="-0.5")
    return book


def with_every_kind_of_trade() -> OkxAccount:
    """The same fills and entries, each of another type: `ordId` is empty where OKX has no order."""
    book = traded()
    retyped(book.fills, range(len(TRADES)), TRADES)
    retyped(book.bills, range(1, len(TRADES) + 1), TRADES)
    for tape, first in ((book.fills, 0), (book.bills, 1)):
        for place, pair in enumerate(TRADES, first):
            if pair.bill_type in ("3", "14", "32"):
                tape.rows[place]["ordId"] = ""
    return book


def with_every_finding() -> OkxAccount:
    book = account()
    round_trips(book, 2)
    for turn, pair in enumerate(FINDINGS):
        book.entry("USDT", "-1", OPENING + DAY + turn * HOUR, pair.bill_type, pair.sub_type)
    for bill_type, sub_type in (("99", "999"), ("2", "173"), ("8", "1")):
        book.entry("USDT", "-1", NOW - 2 * HOUR, bill_type, sub_type)
    return book


def with_every_movement_of_cash() -> OkxAccount:
    book = account()
    book.deposit("BTC", 1, OPENING)
    for turn, pair in enumerate(one for one in PAIRS if one.kind in CASH):
        book.entry("USDT", "-1", OPENING + DAY + turn * HOUR, pair.bill_type, pair.sub_type)
    for turn, pair in enumerate(one for one in PAIRS if one.kind == "margin"):
        for amount in ("-5", "5"):  # into an isolated position, and back
            at = OPENING + 9 * DAY + turn * HOUR
            book.entry("USDT", amount, at, pair.bill_type, pair.sub_type)
    for turn, pair in enumerate(one for one in PAIRS if one.kind == "conversion"):
        at = OPENING + 10 * DAY + turn * HOUR
        book.entry("USDT", "-60", at, pair.bill_type, pair.sub_type)
        book.entry("BTC", "0.001", at, pair.bill_type, pair.sub_type)
    return book


def found_beside_fills() -> OkxAccount:
    """Fills whose entries are findings: of OKX's forced sales of collateral, which it lists."""
    book = account()
    round_trips(book, 1)
    pairs = [one for one in FINDINGS if one.sub_type in ("376", "377")]
    for turn in range(len(pairs)):
        book.trade(ETH, ("buy", "sell")[turn % 2], 2, 3_000, NOW - (9 - turn) * HOUR, fee=0)
    retyped(book.fills, range(4, 6), pairs)
    retyped(book.bills, range(6, 8), pairs)
    return book


class Night(NamedTuple):
    """One night of all these accounts, and its folder."""

    document: Document
    folder: Path

    def entry(self, name: str) -> dict[str, Any]:
        return next(one for one in self.document["accounts"] if one["account"] == name)

    def figures(self, name: str) -> Any:
        at = [one["account"] for one in self.document["accounts"]].index(name)
        shown = figures(self.document)
        return shown["accounts"][at], {**shown["bots"][at], "bot": ""}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    books = {
        "plain": traded(),
        "every-trade": with_every_kind_of_trade(),
        "findings": with_every_finding(),
        "cash": with_every_movement_of_cash(),
        "beside": found_beside_fills(),
    }
    folder = tmp_path_factory.mktemp("bills")
    with ExitStack() as stack:
        desks = [(Desk(name), stack.enter_context(serving(book))) for name, book in books.items()]
        bots = [Trader(f"bot-{name}", name, claims=((OPENING + DAY, "3"),)) for name in books]
        yield Night(run_desks(folder, desks, bots=bots), folder)


def test_every_kind_of_trade_is_held_to_its_fill_and_counts_as_one(night: Night) -> None:
    entry = night.entry("every-trade")
    assert entry["status"] == "proven", entry["reasons"]
    assert night.figures("every-trade") == night.figures("plain")
    assert entry["proofs"]["cash"]["status"] == entry["proofs"]["broker_pnl"]["status"] == "closed"


def test_every_other_pair_is_a_finding_of_its_own_that_names_it(night: Night) -> None:
    query = "select reason from proofs.findings where account = 'findings'"
    reasons = {reason for (reason,) in rows(night.folder, query)}
    start = "the ledger shows an entry in USDT of type "
    expected = {
        f"{start}{one.bill_type}, subType {one.sub_type} ({one.name}), "
        f"which recon does not compute: {one.finding}"
        for one in FINDINGS
    } | {
        f"the ledger shows an entry in USDT of subType {sub_type}, type {bill_type}, "
        "which is not known"
        for bill_type, sub_type in (("99", "999"), ("2", "173"), ("8", "1"))
    }
    assert reasons == expected
    entry = night.entry("findings")
    assert entry["status"] == "unproven"
    assert entry["proofs"]["cash"]["status"] == entry["proofs"]["equity"]["status"] == "closed"
    assert len(entry["reasons"]) == 9
    assert all("the ledger shows an entry" in reason for reason in entry["reasons"][:8])


def test_movements_of_cash_are_computed_and_only_interest_is_profit_or_loss(night: Night) -> None:
    entry = night.entry("cash")
    assert entry["status"] == "proven", entry["reasons"]
    paid = sum(one.kind == "interest" for one in PAIRS)
    assert entry["window"]["other"] == entry["window"]["net"] == f"-{paid}.00"


def test_a_fill_whose_entry_is_a_finding_is_not_said_to_lack_it(night: Night) -> None:
    entry = night.entry("beside")
    assert entry["status"] == "unproven"
    assert len(entry["reasons"]) == 2
    assert all("which recon does not compute" in reason for reason in entry["reasons"])
