"""Each reason that an OKX account may be given: a case in which it is the only one, and is true.

One night holds all cases, an account on a server of its own each. What the queries can say is read
off their text: a reason that no case gives fails.
"""

# ruff: noqa: E501 - reasons stand as they are given
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from recon.demo.venues.background import in_background
from recon.demo.venues.okx_instruments import future, option, swap
from recon.demo.venues.okx_lifecycle import OkxLife
from recon.demo.venues.okx_tape import Tape
from recon.system.resources import sql_root
from tests.nights.test_okx_fields import FILLS, PATIENT, ChangingServer, lived
from tests.support.fleet import BTC, ETH, NOW, OPENING, SOL, Desk, Document, run_desks
from tests.support.random_histories import CALLS, COIN, DATED, INVERSE

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LATE = NOW - 6 * HOUR
TYPES = ("SWAP", "SPOT")
CALL = CALLS[0]

Row = dict[str, Any]
Disturb = Callable[[OkxLife], object]


def row_of(tape: Tape, **facts: str) -> Row:
    """Return the first row of a tape with these facts."""
    return next(row for row in tape.rows if all(row[key] == is_ for key, is_ in facts.items()))


def fill(instrument: str, way: str, /, **changed: str) -> Disturb:
    return lambda book: row_of(book.fills, instId=instrument, side=way).update(changed)


def bill(facts: Mapping[str, str], /, **changed: str) -> Disturb:
    return lambda book: row_of(book.bills, **facts).update(changed)


def each(*steps: Disturb) -> Disturb:
    return lambda book: [step(book) for step in steps]


TRADE = {"type": "2", "instId": ETH, "subType": "2"}
FUNDING = {"type": "8"}
LOSS = {"type": "5", "pnl": "-30"}


def hide(of: str, **facts: str) -> Disturb:
    """Take a row off a tape, as if the venue had never served it."""

    def disturb(book: OkxLife) -> None:
        tape: Tape = getattr(book, of)
        place = tape.rows.index(row_of(tape, **facts))
        del tape.ids[place], tape.times_ms[place], tape.rows[place]

    return disturb


def entry(ccy: str, amount: str, bill_type: str, sub_type: str, **facts: str) -> Disturb:
    """Book one more entry of the ledger."""

    def disturb(book: OkxLife) -> None:
        book.entry(ccy, amount, LATE, bill_type, sub_type)
        book.bills.rows[-1].update(facts)

    return disturb


def opened_for_nothing(book: OkxLife) -> None:
    """Open a position that moves no cash, and lose its entry."""
    book.trade(BTC, "buy", 1, 60_000, LATE, fee=0)
    hide("bills", billId=str(book.bills.ids[-1]))(book)


def exercised(book: OkxLife) -> None:
    """Let an option expire of which the entry does not say whether it was a gain or a loss."""
    book.add_instrument(option(CALL))
    book.trade(CALL, "buy", 2, "0.01", LATE, fee=0)
    book.exercise(CALL, 0, LATE + HOUR)
    book.bills.rows[-1]["pnl"] = "0"


def isolated(book: OkxLife) -> None:
    book.trade(SOL, "buy", 3, 150, LATE, fee=0, mgn_mode="isolated")
    book.liquidate_isolated(SOL, 140, LATE + HOUR)


def margin_in_lost(book: OkxLife) -> None:
    """Move margin into a position and out again, and lose the first entry."""
    for amount in ("-5", "5"):
        book.entry("USDT", amount, LATE, "6", "160")
    hide("bills", billId=str(book.bills.ids[-2]))(book)


def fee_entry_again(book: OkxLife) -> None:
    """Add an entry that moves nothing to the trade whose fee was paid in OKB."""
    paid = row_of(book.bills, ccy="OKB", type="2")
    book.entry("OKB", "0", LATE, "2", "1")
    same = ("instId", "instType", "tradeId")
    book.bills.rows[-1].update({key: paid[key] for key in same}, pnl="0", fee="0")


def settled(book: OkxLife) -> None:
    book.add_instrument(future(DATED, "0.01"))
    book.trade(DATED, "buy", 5, 60_000, LATE - HOUR, fee=0)
    book.settle(DATED, 60_100, LATE)
    book.trade(DATED, "sell", 2, 60_600, LATE + HOUR, fee=0)


class Served(NamedTuple):
    """One row that OKX serves otherwise; inside a list of the row where `inside` names one."""

    paths: tuple[str, ...]
    key: str
    name: str
    changed: Mapping[str, Any]
    inside: str = ""

    def of_row(self, row: Any) -> Any:
        """Return a row as it is served."""
        if self.inside:
            return {**row, self.inside: [self._of(one) for one in row[self.inside]]}
        return self._of(row)

    def _of(self, row: Row) -> Row:
        return {**row, **self.changed} if row[self.key] == self.name else row


def position(**changed: Any) -> Served:
    return Served(("account/positions",), "instId", BTC, changed)


def history(**changed: Any) -> Served:
    return Served(("account/positions-history",), "instId", ETH, changed)


def balance(**changed: Any) -> Served:
    return Served(("account/balance",), "ccy", "USDT", changed, inside="details")


def listed(name: str, **changed: Any) -> Served:
    return Served(("public/instruments",), "instId", name, changed)


class Case(NamedTuple):
    """How an account is disturbed, or what OKX serves of it otherwise, and the only reason given.

    `#` in the reason stands for the id of a record.
    """

    reason: str
    disturb: Disturb | None = None
    served: Served | None = None
    types: tuple[str, ...] = TYPES
    more: str = ""


def unreadable_fill(reason: str, /, **changed: str) -> Case:
    return Case(f"fill #: {reason}", fill(ETH, "sell", **changed))


def unreadable_bill(reason: str, facts: Mapping[str, str] = TRADE, /, **changed: str) -> Case:
    return Case(f"bill #: {reason}", bill(facts, **changed))


ALTERED = (
    "a fill or an entry is missing, doubled or altered, or its position is older than the window"
)

CASES = (
    # records that cannot be read
    unreadable_fill("instId is not an instrument", instId=""),
    Case(
        "fill # and 1 more: instType is not known",
        served=Served(FILLS, "instId", ETH, {"instType": "BOND"}),
    ),
    unreadable_fill("ts is not a time at which OKX traded", ts="1"),
    unreadable_fill("side is neither buy nor sell", side="short"),
    unreadable_fill("posSide is not known", posSide="both"),
    unreadable_fill("fillSz is not a quantity", fillSz="0"),
    unreadable_fill("fillPx is not a price", fillPx="1,5"),
    unreadable_fill("fee is missing or unreadable: unknown, and never 0", fee=""),
    unreadable_fill("feeCcy is not a currency", feeCcy=""),
    unreadable_fill("fillPnl is unreadable", fillPnl="none"),
    Case("fill #: an inverse contract at no price", fill(INVERSE, "sell", fillPx="0")),
    Case("fill #: the fee is all that was bought", fill(COIN, "buy", fee="-2")),
    Case(
        f"fill # and 1 more: no contract value is known for {ETH}: OKX does not list it",
        lambda book: book.instruments.pop(ETH),
    ),
    Case(
        f"fill # and 1 more: OKX lists {ETH} in a way that recon cannot read: instType is not known",
        served=listed(ETH, instType="BOND"),
    ),
    Case(
        f"fill # and 1 more: OKX lists {ETH} in a way that recon cannot read: ctVal is not a contract"
        " value",
        served=listed(ETH, ctVal=""),
    ),
    Case(
        f"fill # and 1 more: OKX lists {ETH} in a way that recon cannot read: ctMult is unreadable",
        served=listed(ETH, ctMult="one"),
    ),
    Case(
        f"fill # and 1 more: OKX lists {ETH} in a way that recon cannot read: ctType is neither linear"
        " nor inverse",
        served=listed(ETH, ctType=""),
    ),
    Case(
        f"fill # and 1 more: OKX lists {ETH} in a way that recon cannot read: settleCcy is not a"
        " currency",
        served=listed(ETH, settleCcy=""),
    ),
    Case(
        f"fill # and 1 more: no contract value is known for {ETH}: its ctVal or ctMult has more digits"
        " than recon keeps",
        served=listed(ETH, ctVal="0.0000000001"),
    ),
    unreadable_bill("ts is not a time at which OKX traded", ts="1"),
    unreadable_bill("type is missing", type=""),
    unreadable_bill("subType is missing", subType=""),
    unreadable_bill("ccy is not a currency", FUNDING, ccy="7"),
    unreadable_bill("instId is not an instrument", instId="7"),
    unreadable_bill("instId is missing, and the entry is a funding", FUNDING, instId=""),
    unreadable_bill(
        "instId is missing, and the entry is of a liquidation or an ADL", LOSS, instId=""
    ),
    unreadable_bill("instType is not known", instType="BOND"),
    unreadable_bill("tradeId is not a number", tradeId="x"),
    unreadable_bill("balChg is not an amount", balChg=""),
    unreadable_bill("bal is not an amount", bal=""),
    unreadable_bill("posBalChg is unreadable", posBalChg="x"),
    unreadable_bill("pnl is unreadable", pnl="x"),
    unreadable_bill("pnl is missing", pnl=""),
    unreadable_bill("fee is unreadable", fee="x"),
    unreadable_bill("fee is missing", fee=""),
    unreadable_bill(
        "balChg is 0 and posBalChg is missing, and the entry is a funding",
        FUNDING,
        balChg="0",
        posBalChg="",
    ),
    Case("position #: instId is not an instrument", served=position(instId="")),
    Case("position #: pos is not a quantity", served=position(pos="")),
    Case("position #: posSide is not known", served=position(posSide="both")),
    Case("position #: a long or short position below 0", served=position(posSide="long", pos="-3")),
    Case("position #: avgPx is unreadable", served=position(avgPx="x")),
    Case("position #: markPx is unreadable", served=position(markPx="x")),
    Case("position-history #: instId is not an instrument", served=history(instId="")),
    Case("position-history #: posSide is not known", served=history(posSide="both")),
    Case("position-history #: cTime is not a time", served=history(cTime="")),
    Case("position-history #: closeTotalPos is not a quantity", served=history(closeTotalPos="")),
    Case("position-history #: realizedPnl is not an amount", served=history(realizedPnl="")),
    Case("position-history #: pnl is not an amount", served=history(pnl="")),
    Case("position-history #: fee is not an amount", served=history(fee="")),
    Case("position-history #: fundingFee is not an amount", served=history(fundingFee="")),
    Case("position-history #: liqPenalty is unreadable", served=history(liqPenalty="x")),
    Case("position-history #: settledPnl is unreadable", served=history(settledPnl="x")),
    Case("balance account: ccy of a balance is not a currency", served=balance(ccy="")),
    Case("balance account: cashBal of USDT is not an amount", served=balance(cashBal="")),
    Case("balance account: eq of USDT is not an amount", served=balance(eq="")),
    Case(
        "balance account: details is not a list of currencies",
        served=Served(("account/balance",), "adjEq", "", {"details": ""}),
    ),
    Case(
        "instrument 7: instId is not an instrument",
        lambda book: book.add_instrument(swap("XRP-USDT-SWAP", 100)),
        served=listed("XRP-USDT-SWAP", instId="7"),
    ),
    # findings
    Case(
        'the ledger shows MARGIN trades of LTC-USDT: add "MARGIN" to instrument_types',
        entry("USDT", "-1", "2", "1", instType="MARGIN", instId=COIN, tradeId="77"),
    ),
    Case(
        f"{ETH}: ledger entry # (USDT) names no tradeId: recon cannot tell which fill it belongs to",
        bill(TRADE, tradeId=""),
    ),
    Case(
        "ledger entry # (USDT) names no instId: recon cannot tell which fill it belongs to",
        bill(TRADE, instId=""),
    ),
    Case(
        f"{ETH}: fill # names no tradeId: recon cannot tell which entry of the ledger it belongs to",
        fill(ETH, "sell", tradeId=""),
    ),
    Case(
        f"{ETH}: fill # has no fillPnl: what OKX says that it realised is not known",
        fill(ETH, "sell", fillPnl=""),
    ),
    Case(
        "the ledger shows an entry in USDT of subType 1, type 99, which is not known",
        entry("USDT", "-1", "99", "1"),
    ),
    Case(
        "the ledger shows an entry in USDT of type 16, subType 306 (manual borrowing), which recon does"
        " not compute: what was borrowed is not valued",
        entry("USDT", "9", "16", "306"),
    ),
    Case(
        "the ledger shows one side of a conversion in USDT, and not the other",
        entry("USDT", "-1", "4", "115"),
    ),
    Case("USDC: interest in USDC, and no rate to USDT is known", entry("USDC", "1", "7", "9")),
    Case(
        f"{INVERSE}: settles in BTC, and no rate to USDT is known", lambda book: book.closes.clear()
    ),
    Case(
        f"{BTC}: a fee in OKB has no known value in USDT",
        each(
            lambda book: book.deposit("OKB", 1, LATE),
            lambda book: book.trade(BTC, "buy", 1, 60_000, LATE, fee="-0.01", fee_ccy="OKB"),
        ),
    ),
    Case(
        f"{COIN}: more was sold than was bought since the window began: the cost of the rest is not"
        " known",
        each(
            lambda book: book.deposit("LTC", 5, LATE),
            lambda book: book.trade(COIN, "sell", 3, 90, LATE, fee=0),
        ),
    ),
    Case(
        f"{CALL}: the ledger shows an exercise that does not say what was held, or of an option that"
        " is not listed",
        exercised,
        types=("SWAP", "SPOT", "OPTION"),
    ),
    Case(
        f"{SOL}: a liquidation that moved no cash, neither of the account nor of the position",
        each(isolated, bill({"type": "5", "mgnMode": "isolated"}, posBalChg="0")),
    ),
    Case(
        f"{COIN}: MARGIN trades of an account that is neither in multi-currency nor in portfolio mode"
        " (acctLv): what they borrow is a position of its own, which is not valued",
        lambda book: book.trade(COIN, "buy", 1, 90, LATE, fee=0, is_on_margin=True),
        types=("SWAP", "SPOT", "MARGIN"),
    ),
    Case(
        f"{BTC}: OKX shows a MARGIN position of its own (isolated, or of an account in one currency):"
        " it is not valued",
        served=position(instType="MARGIN"),
    ),
    Case(
        f"{BTC}: what was held before the window was closed, and its cost is not known: give it a price"
        " in [[accounts.opening]]",
        lambda book: book.trade(BTC, "sell", 3, 60_000, LATE, fee=0),
        more=f'[[accounts.opening]]\ninstrument = "{BTC}"\nqty = "2"\n',
    ),
    # proofs
    Case("cash: USDT: the chain is broken before entry # (-5.00)", margin_in_lost),
    Case(
        "cash: USDT: entry # came after the window began, and is dated before it (0)",
        entry("USDT", "0", "1", "11", ts=str(int((OPENING - 2 * HOUR).timestamp() * 1000))),
    ),
    Case(
        "cash: OKB: fill # says another fee in OKB than the ledger (0)",
        each(
            lambda book: book.closes.update({"OKB-USDT": lambda _: Decimal(50)}),
            lambda book: book.deposit("OKB", 1, LATE),
            lambda book: book.trade(BTC, "buy", 1, 60_000, LATE, fee="-0.01", fee_ccy="OKB"),
            fee_entry_again,
        ),
    ),
    Case(
        f"broker_pnl: {DATED}: the lots and OKX's fillPnl and settlements differ in the window:"
        f" {ALTERED} (-1.00)",
        each(
            settled,
            fill(DATED, "sell", fillPnl="11"),
            bill({"type": "2", "instId": DATED, "subType": "2"}, pnl="11"),
        ),
        types=("SWAP", "SPOT", "FUTURES"),
    ),
    Case(
        f"positions: {BTC}: the fills add up to 3.00, the statement says 4.00: a fill is missing or"
        " doubled, or the position is older than since = 2026-05-01 (set `since` to a date when it was"
        " flat, or name the position held then in [[accounts.opening]]) (-1.00)",
        served=position(pos="4"),
    ),
    Case(
        "positions: XRP-USDT-SWAP: the statement has a closed position without a fill: a fill is missing, run again"
        " (10.00)",
        served=history(instId="XRP-USDT-SWAP"),
    ),
    Case(
        "cash: USDT: the last entry is not the balance that the venue states (-1.00)",
        served=balance(cashBal="99401.06"),
    ),
    Case(f"cash: USDT: fill # ({BTC}) moved no cash in the ledger (0)", opened_for_nothing),
    Case(
        f"cash: USDT: ledger entry # ({BTC}) has no fill (0)",
        entry("USDT", "0", "2", "1", instType="SWAP", instId=BTC, tradeId="777", pnl="0", fee="0"),
    ),
    Case(
        "cash: USDT: fill # says another time than the ledger (0)",
        fill(ETH, "sell", ts=str(int((OPENING + 2 * DAY + 2 * HOUR).timestamp() * 1000) + 90_000)),
    ),
    Case(
        f"cash: USDT: 1 fills and 2 ledger entries are trade 2 of {ETH} (0)",
        entry("USDT", "0", "2", "1", instType="SWAP", instId=ETH, tradeId="2", pnl="0", fee="0"),
    ),
    Case("cash: USDT: fill # says another fee than the ledger (0.05)", bill(TRADE, fee="-1.6")),
    Case("cash: USDT: fill # says another PnL than the ledger (-1.00)", bill(TRADE, pnl="101")),
    Case("cash: USDT: fill # says another size than the ledger (0)", bill(TRADE, sz="9")),
    Case("cash: USDT: fill # says another price than the ledger (0)", bill(TRADE, px="3101")),
    Case(
        "cash: USDT: fill # says another size than the ledger (-0.00000000008)",
        fill(COIN, "buy", fillSz="2.000000000001"),
    ),
    Case(
        "cash: USDT: fill # says another price or fee than the ledger (-0.0000000106)",
        fill(COIN, "buy", fillPx="80.0000000053"),
    ),
    Case(
        f"broker_pnl: {BTC}: the lots and OKX's fillPnl differ in 2026-05-03: {ALTERED} (-1.00)",
        each(
            fill(BTC, "sell", fillPnl="11"),
            bill({"type": "2", "instId": BTC, "subType": "2"}, pnl="11"),
        ),
    ),
    Case(
        f"broker_pnl: {ETH}: pnl + fee + fundingFee + liqPenalty + settledPnl is not realizedPnl of"
        " position #: OKX contradicts itself (-1.00)",
        served=history(realizedPnl="97.2"),
    ),
    Case(
        f"broker_pnl: {ETH}: fills and ledger differ from realizedPnl of position #: {ALTERED} (-1.00)",
        served=history(realizedPnl="97.2", pnl="101"),
    ),
    Case(
        "equity: USDT: fills, fees, funding, transfers and marks since the window began do not add up to"
        " the equity of USDT that OKX states: a fill or an entry is missing, doubled or altered, or a position"
        " is older than the window (-1.00)",
        served=balance(eq="99416.06"),
    ),
    Case(
        f"equity: USDT: OKX states no markPx of its position in {BTC}: the equity of USDT cannot be"
        " compared",
        served=position(markPx=""),
    ),
    Case(
        f"equity: USDT: OKX states no upl of its position in {BTC}: the equity of USDT cannot be"
        " compared",
        served=position(upl=""),
    ),
    Case(
        "equity: USDT: OKX states no upl of USDT: the equity of USDT cannot be compared",
        served=balance(upl=""),
    ),
)


def played(folder: Path) -> Document:
    with ExitStack() as stack:
        desks = []
        for number, case in enumerate(CASES):
            book = lived()
            if case.disturb:
                case.disturb(book)
            server = ChangingServer(book, throttle=0, change=case.served)
            desk = Desk(f"case{number}", instrument_types=case.types, more=case.more)
            desks.append((desk, stack.enter_context(in_background(server))))
        return run_desks(folder, desks, patience=PATIENT)


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """One night of all cases."""
    found: list[dict[str, Any]] = played(tmp_path_factory.mktemp("reasons"))["accounts"]
    return found


def without_ids(reason: str) -> str:
    """Return a reason with `#` in place of a record's id."""
    reason = re.sub(r"[A-Z-]*/[a-z]+/cross/[0-9]+", "#", reason)
    return re.sub(r"[0-9]{15,}(/[0-9]+)?", "#", reason)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: CASES[number].reason[:60])
def test_it_is_the_only_reason(entries: list[dict[str, Any]], number: int) -> None:
    entry = entries[number]
    assert entry["status"] == "unproven"
    assert [without_ids(one) for one in entry["reasons"]] == [CASES[number].reason]


QUERIES = (
    "staging/okx/parsed_fills",
    "staging/okx/parsed_ledger",
    "staging/okx/parsed_positions",
    "staging/okx/parsed_closed_positions",
    "staging/okx/instruments",
    "staging/okx/quarantine",
    "staging/okx/findings",
    "staging/findings",
    "proofs/findings",
    "proofs/trades",
    "proofs/cash",
    "proofs/okx_broker_pnl",
    "proofs/okx_equity",
)
"""The queries that give the reasons of an OKX account; those of proofs.py are in `CASES`, too."""
ELSEWHERE = {
    "billId is not a number": "the connector refuses the answer (tests/connectors/test_okx.py)",
    "or": "between two names",
    "the bots": "IBKR alone",
    "own it under different symbols: name it in the instruments of one of them": "IBKR alone",
    "one symbol for two instruments or currencies: not told apart yet": "IBKR alone",
    "statements of several IBKR accounts were landed under it (": "IBKR alone",
    "): give each an [[accounts]] entry of its own": "IBKR alone",
    "the key belongs to another OKX account than before (uid": "tests/nights/test_histories.py",
    "): give that account an [[accounts]] entry of its own": "tests/nights/test_histories.py",
    "its contract value has changed: fills before and after are not told apart yet": "tests/nights/test_histories.py",
    "cannot be valued exactly": "a number of more digits than the tables hold",
    "the value of what is held in": "a number of more digits than the tables hold",
    "has more digits than recon keeps": "a number of more digits than the tables hold",
}


def prose(query: str) -> list[str]:
    """Return the literals of a query that are words of a reason: of two words and more."""
    code = "\n".join(re.sub(r"--.*$", "", line) for line in query.splitlines())
    literals = (
        one.replace("''", "'").strip(" :;,") for one in re.findall(r"'((?:[^']|'')*)'", code)
    )
    return [one for one in literals if re.search(r"[a-zA-Z]{2,} [a-zA-Z]", one)]


@pytest.mark.parametrize("name", QUERIES)
def test_every_reason_has_a_case(name: str) -> None:
    told = " ".join(case.reason for case in CASES)
    query = (sql_root() / f"{name}.sql").read_text(encoding="utf-8")
    missing = [one for one in prose(query) if one not in told and one not in ELSEWHERE]
    assert missing == []
