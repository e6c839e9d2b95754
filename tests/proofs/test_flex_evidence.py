"""Missing parts of a Flex statement are noticed: each field, section and level in turn.

A rich statement of one IBKR account is proven, and its two bots are distinguished by their orders'
tags. Whatever is taken out of it, the night tells the same numbers, or the account is unproven and
a reason names what to tick. It never tells other numbers, and it never accuses a bot. The night
that always runs takes out each section, and every fourth field and level; those of all are slow.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from connectors.ibkr_flex.statement import Row
from recon.config.settings import load
from recon.demo.venues.flex_document import document
from recon.run.nightly import Night, run_night
from recon.system.resources import sql_root
from tests.conftest import TRIED, slow_after
from tests.project.test_documentation import table
from tests.support.desk_statement import statement
from tests.support.fleet import Document, Trader, write_folder, write_vault
from tests.support.flex_desk import DAYS, FIRST, LAST, RATES, Desk, written

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
AT_ONCE = 64
"""The accounts of one run."""
TAGS = {"one": "alpha-", "two": "beta-"}
OWNED = {"one": ("FUT",), "two": ("BBB", "BBB C")}
EMPTY = {
    "Trade": (
        "accountId",
        "tradeID",
        "origTradeID",
        "ibExecID",
        "orderReference",
        "buySell",
        "strike",
        "putCall",
        "underlyingSymbol",
        "underlyingConid",
        "openCloseIndicator",
        "description",
        "conid",
    ),
    "CashTransaction": ("accountId", "tradeID", "description"),
    "CorporateAction": ("accountId", "code", "conid"),
    "StatementOfFundsLine": ("accountId", "assetCategory", "tradeCommission", "tradeTax"),
    "OpenPosition": ("accountId", "costBasisPrice"),
    "CashReportCurrency": ("paymentInLieu", "withholding871m", "bondInterest", "advisorFees"),
    "ChangeInNAV": ("accountId", "internalCashTransfers"),
}
"""The fields that a query selects and that have no value in these rows."""
SECTIONS = {
    "Trades": "Trades",
    "CashTransactions": "Cash Transactions",
    "OpenPositions": "Open Positions",
    "CorporateActions": "Corporate Actions",
    "StmtFunds": "Statement of Funds",
    "AccountInformation": "Account Information",
    "ConversionRates": "Conversion Rates",
    "CashReport": "Cash Report",
    "ChangeInNAV": "Change in NAV",
    "EquitySummaryInBase": "Net Asset Value",
    "Transfers": "Transfers",
}
"""The sections of the statement, and their names in IBKR's query editor."""
LEVELS = {
    "Trades": (
        "EXECUTION",
        "ORDER",
        "CLOSED_LOT",
        "SYMBOL_SUMMARY",
        "ASSET_SUMMARY",
        "WASH_SALE",
        "LOT",
    ),
    "CashTransactions": ("DETAIL", "SUMMARY"),
    "OpenPositions": ("SUMMARY", "LOT"),
    "StmtFunds": ("Currency", "BaseCurrency"),
    "CashReport": ("Currency", "BaseCurrency"),
}
"""The levels of a section's rows. Each row is also tried with an unknown level and none."""
GROUPS: tuple[tuple[str, ...], ...] = (
    ("Trades", "AccountInformation"),
    ("CashTransactions", "StmtFunds", "Transfers", "ConversionRates"),
    ("OpenPositions", "CorporateActions", "CashReport", "ChangeInNAV", "EquitySummaryInBase"),
)
"""The sections whose losses share slow runs."""

Sections = Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class Loss:
    """One missing part of a statement, and the words of which a reason must have one."""

    name: str
    words: tuple[str, ...]
    sections: Sections


class Lost(NamedTuple):
    """The sections whose losses share runs, with one of `each` of their fields and levels."""

    of: Sequence[str]
    each: int = 1


class Told(NamedTuple):
    """The result of a run for an account and its bots."""

    account: Document
    bots: list[Document]


def rich() -> Desk:
    """Play two bots' trades in every kind of row, so that each row of a statement matters."""
    desk = Desk(random.Random(13), has_euros=True)
    days = iter(DAYS[1:])

    def trade(tag: str, name: str, qty: int, price: str) -> None:
        desk.execute(name, Fraction(qty), Fraction(price))
        desk.rows["Trades"][-1][1]["orderReference"] = f"{tag}{desk.number}"

    desk.list("CCC", "STK", "USD", 1)
    desk.day = next(days)
    desk.move("Deposits/Withdrawals", Fraction("5000"), "USD")
    trade("alpha-", "AAA", 10, "50.10")
    trade("beta-", "AAA", 8, "51.20")
    trade("beta-", "EEE", 20, "41.05")
    trade("alpha-", "FUT", 2, "4950.25")
    desk.day = next(days)
    desk.convert()
    trade("alpha-", "CFD", 5, "47.20")
    trade("beta-", "FND", 4, "55.50")
    desk.day = next(days)
    desk.move("Dividends", Fraction("17.40"), "USD")
    desk.move("Withholding Tax", Fraction("-2.61"), "USD")
    desk.move("Payment In Lieu Of Dividends", Fraction("3.15"), "USD")
    desk.move("Other Fees", Fraction("-4.50"), "EUR")
    desk.move("Broker Interest Received", Fraction("1.27"), "EUR")
    desk.day = next(days)
    desk.split()
    desk.day = next(days)
    desk.assign()
    correct(desk, next(days))
    trade("alpha-", "AAA", -5, "26.00")
    trade("beta-", "AAA", -6, "27.00")
    trade("beta-", "EEE", -7, "43.00")
    trade("alpha-", "FUT", -1, "4980.00")
    desk.day = LAST
    trade("alpha-", "CFD", -2, "49.00")
    trade("alpha-", "CCC", -2, "31.00")
    trade("beta-", "EEE", -4, "44.00")
    desk.settle()
    return desk


def correct(desk: Desk, following: date) -> None:
    """Buy at a wrong price; IBKR cancels the fill on the next day and books it again."""
    day, fee = desk.day, Fraction(-1)
    wrong = {"quantity": "3", "tradePrice": "30", "proceeds": "-90", "ibCommission": "-1"}
    for sign in (1, -1):
        desk.day = day if sign == 1 else following
        desk.pay("USD", "commissions", sign * fee)
        desk.pay("USD", "netTradesPurchases", sign * Fraction(-90))
        code = "BUY" if sign == 1 else "SELL"
        desk.line(
            "USD",
            code,
            sign * Fraction(-91),
            assetCategory="STK",
            tradeCommission=written(sign * fee),
            tradeTax="0",
        )
    desk.execute("CCC", Fraction(3), Fraction(29))
    _, booked = desk.rows["Trades"].pop()
    booked |= {
        "orderReference": "alpha-7",
        "tradeDate": f"{day:%Y%m%d}",
        "notes": "Co",
        "dateTime": f"{day:%Y%m%d};150000",
        "transactionType": "ExchTrade",
    }
    original = {
        **booked,
        **wrong,
        "netCash": "-91",
        "fifoPnlRealized": "0",
        "notes": "",
        "reportDate": f"{day:%Y%m%d}",
        "transactionID": desk.new(),
    }
    cancel = {
        **original,
        "quantity": "-3",
        "proceeds": "90",
        "ibCommission": "1",
        "netCash": "91",
        "tradeID": "",
        "origTradeID": original["tradeID"],
        "transactionID": desk.new(),
        "transactionType": "TradeCancel",
        "notes": "Ca",
        "reportDate": booked["reportDate"],
        "orderReference": "",
    }
    rebooked = booked | {"transactionID": desk.new()}
    desk.rows["Trades"] += [("Trade", row) for row in (original, cancel, rebooked)]


def whole(desk: Desk) -> dict[str, list[Row]]:
    """Return the desk's statement with every field selected, at every level."""
    sections = {name: list(rows) for name, rows in statement(desk).sections.items()}
    sections["ConversionRates"] = [
        (
            "ConversionRate",
            {
                "reportDate": f"{day:%Y%m%d}",
                "fromCurrency": "EUR",
                "toCurrency": "USD",
                "rate": written(RATES["EUR"]),
            },
        )
        for day in DAYS
    ]
    for rows in sections.values():
        rows[:] = [(kind, {**dict.fromkeys(EMPTY.get(kind, ()), ""), **row}) for kind, row in rows]
    trades, cash = sections["Trades"], sections["CashTransactions"]
    positions, report = sections["OpenPositions"], sections["CashReport"]
    numbers = dict.fromkeys(("transactionID", "tradeID", "ibExecID"), "")
    trades += [
        (tag, {**row, **numbers, "levelOfDetail": level})
        for tag, level in (("Trade", "ORDER"), ("Lot", "CLOSED_LOT"))
        for _, row in trades[::3]
    ]
    cash += [
        ("CashTransaction", {**row, "levelOfDetail": "SUMMARY", "transactionID": ""})
        for _, row in cash
    ]
    positions += [("OpenPosition", {**row, "levelOfDetail": "LOT"}) for _, row in positions]
    summary = {"levelOfDetail": "BaseCurrency", "currency": "BASE_SUMMARY"}
    report.append(("CashReportCurrency", {**report[0][1], **summary}))
    return sections


def losses(sections: dict[str, list[Row]], lost: Lost) -> Iterator[Loss]:
    """Yield the statement without each section, and without some of its fields and levels."""
    for section in lost.of:
        title = SECTIONS[section]
        rest = {name: kept for name, kept in sections.items() if name != section}
        yield Loss(f"{title} absent", (title, section), rest)
        yield from islice(inside(sections, section), None, None, lost.each)


def inside(sections: dict[str, list[Row]], section: str) -> Iterator[Loss]:
    """Yield the statement without each field of a section, and at each other level."""
    rows, title = sections[section], SECTIONS[section]
    for field in sorted({field for _, row in rows for field in row}):
        without = [
            (kind, {name: text for name, text in row.items() if name != field})
            for kind, row in rows
        ]
        yield Loss(f"{title}: no {field}", (field,), sections | {section: without})
    for level in sorted({row["levelOfDetail"] for _, row in rows if "levelOfDetail" in row}):
        for other in (*LEVELS[section], "NOVEL", ""):
            if other == level:
                continue
            changed = [
                (
                    kind,
                    row | ({"levelOfDetail": other} if row["levelOfDetail"] == level else {}),
                )
                for kind, row in rows
            ]
            name = f"{title}: {level} as {other or 'none'}"
            yield Loss(name, (title, "levelOfDetail"), sections | {section: changed})


def stated(*parts: Sections) -> str:
    """Return a document of one statement, or of two: the first days and the rest."""
    whole_span = statement(Desk(random.Random(1), has_euros=False)).attributes
    if len(parts) == 1:
        return document((whole_span, parts[0]))
    middle = DAYS[len(DAYS) // 2]
    first = {**whole_span, "toDate": f"{middle:%Y%m%d}"}
    second = {**whole_span, "fromDate": f"{middle + timedelta(1):%Y%m%d}"}
    return document((first, parts[0]), (second, parts[1]))


def nights(folder: Path, found: Sequence[str], claims: Mapping[str, str]) -> Iterator[Told]:
    """Run recon with an account for each document; yield the results of it and its two bots.

    A bot without a claim has no books.
    """
    for start in range(0, len(found), AT_ONCE):
        here, some = folder / str(start), found[start : start + AT_ONCE]
        here.mkdir(parents=True)
        accounts, bots = "", []
        for number, text in enumerate(some):
            (here / f"{number}.xml").write_text(text, encoding="utf-8")
            for bot, claim in claims.items():
                closed_at = datetime(2026, 1, 20, 15, tzinfo=UTC)
                write_vault(here / f"{bot}{number}.sqlite", [(closed_at, claim)])
            accounts += (
                f'[[accounts]]\nid = "a{number}"\nvenue = "ibkr-flex"\nmode = "paper"\n'
                f'currency = "USD"\nsince = {FIRST}\ncalendar = "XNYS"\nfiles = "{number}.xml"\n'
            )
            bots += [
                Trader(
                    id=f"{bot}{number}",
                    account=f"a{number}",
                    order_tag=TAGS[bot],
                    instruments=OWNED[bot],
                    claims=None,
                    database=f"sqlite:///{bot}{number}.sqlite",
                )
                for bot in TAGS
            ]
        path = write_folder(here, [], bots, accounts)
        told = run_night(Night(load(path), as_of=LAST, now=lambda: NOW, is_paging=False))
        for number, account in enumerate(told["accounts"]):
            yield Told(account, told["bots"][2 * number : 2 * number + 2])


def wrong(told: Told, expected: Told, words: Sequence[str]) -> str:
    """Return the fault in a run's result for an incomplete statement, or ""."""
    account = told.account
    for bot, before in zip(told.bots, expected.bots, strict=True):
        numbers, right = ([one[name] for name in ("window", "session")] for one in (bot, before))
        if bot["status"] not in {"unproven", before["status"]}:
            return f"a bot is {bot['status']}: {bot}"
        if numbers != right and "unproven" not in {account["status"], bot["status"]}:
            return f"a bot has other numbers: {numbers} in place of {right}"
        if numbers != right and bot["status"] != "unproven":
            return f"a bot is {bot['status']} by other numbers: {numbers} in place of {right}"
    numbers, right = (
        [one.account[name] for name in ("window", "unowned", "netting")] for one in (told, expected)
    )
    if account["status"] == "proven":
        return "" if numbers == right else f"other numbers: {numbers} in place of {right}"
    if any(word in reason for reason in account["reasons"] for word in words):
        return ""
    return f"{account['status']}, and no reason names {' or '.join(words)}: {account['reasons']}"


@pytest.fixture(scope="module")
def sections() -> dict[str, list[Row]]:
    return whole(rich())


@pytest.fixture(scope="module")
def claim(sections: dict[str, list[Row]], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the first bot's PnL by the whole statement. The desk computes it, too."""
    [told] = nights(tmp_path_factory.mktemp("whole"), [stated(sections)], {})
    assert told.account["status"] == "proven", told.account["reasons"]
    desk = rich()
    net = desk.due({"", *desk.terms})["net"]
    assert abs(Fraction(told.account["window"]["net"]) - net) < Fraction(1, 10**12)
    return str(told.bots[0]["window"]["broker"]["net"])


@pytest.mark.parametrize(
    "of",
    slow_after(1, [Lost(tuple(SECTIONS), each=4), *map(Lost, GROUPS)]),
    ids=lambda of: f"{of.each}-{of.of[0]}",
)
def test_a_missing_part_is_named_or_changes_nothing(
    of: Lost,
    sections: dict[str, list[Row]],
    claim: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    found = list(losses(sections, of))
    lost = [stated(loss.sections) for loss in found]
    [honest, *nightly] = nights(tmp_path, [stated(sections), *lost], {"one": claim})
    assert (honest.account["status"], honest.bots[0]["status"]) == ("proven", "agreed")
    outcomes = [
        (loss.name, wrong(told, honest, loss.words), told.account["status"])
        for loss, told in zip(found, nightly, strict=True)
    ]
    same = sum(status == "proven" for _, _, status in outcomes)
    count = f"{len(outcomes)} losses: {same} change nothing, {len(outcomes) - same} are named"
    record_property(TRIED, f"{', '.join(of.of)}: {count}")
    failed = [f"{name}: {what}" for name, what, _ in outcomes if what]
    assert not failed, f"{count}; {len(failed)} are wrong:\n" + "\n".join(failed)


def test_every_section_of_the_statement_is_lost_once(sections: dict[str, list[Row]]) -> None:
    assert sorted(name for of in GROUPS for name in of) == sorted(sections) == sorted(SECTIONS)


SUMMARY = {
    "levelOfDetail": "ASSET_SUMMARY",
    "assetCategory": "STK",
    "symbol": "",
    "tradeDate": "",
    "reportDate": "",
    "fifoPnlRealized": "98",
}
"""IBKR's totals of all stocks, which have no date."""
MOVED_IN = {
    "symbol": "ZZZ",
    "assetCategory": "STK",
    "currency": "USD",
    "type": "ACATS",
    "direction": "IN",
    "quantity": "10",
    "date": f"{DAYS[4]:%Y%m%d}",
    "reportDate": f"{DAYS[4]:%Y%m%d}",
    "conid": "77",
    "transactionID": "88",
    "accountId": "U1",
}
HELD = {
    "symbol": "ZZZ",
    "assetCategory": "STK",
    "currency": "USD",
    "levelOfDetail": "SUMMARY",
    "position": "10",
    "markPrice": "5",
    "conid": "77",
    "multiplier": "1",
}


def without(sections: Sections, *names: str) -> dict[str, Sequence[Row]]:
    return {name: rows for name, rows in sections.items() if name not in names}


def changed(sections: Sections, kind: str, **fields: str) -> dict[str, Sequence[Row]]:
    """Return the sections with changed fields in the rows of a kind; "-" removes a field."""
    return {
        name: [
            (tag, {key: text for key, text in (row | fields).items() if text != "-"})
            if tag == kind
            else (tag, row)
            for tag, row in rows
        ]
        for name, rows in sections.items()
    }


def cases(whole_statement: Sections) -> dict[str, tuple[str, str]]:
    """Return statements, each with the words of its expected reason; "" is proven."""
    sections: dict[str, Sequence[Row]] = dict(whole_statement)
    trades, cash = sections["Trades"], sections["CashTransactions"]
    quiet = without(sections, "AccountInformation", "ConversionRates")
    unpaid = sections | {
        "CashTransactions": [row for row in cash if row[1]["type"] != "Dividends"],
    }
    held = sections | {"OpenPositions": [*sections["OpenPositions"], ("OpenPosition", HELD)]}
    bare = [
        (tag, {name: text for name, text in row.items() if name != "multiplier"})
        if row["assetCategory"] == "STK"
        else (tag, row)
        for tag, row in trades
    ]
    empty: dict[str, Sequence[Row]] = {
        "AccountInformation": sections["AccountInformation"],
        "CashTransactions": [],
        "OpenPositions": [],
        "Trades": [],
    }
    orders = [row for row in trades if row[1]["levelOfDetail"] == "ORDER"]
    lots = [row for row in trades if row[1]["levelOfDetail"] == "CLOSED_LOT"]
    summary = ("AssetSummary", SUMMARY)
    per_symbol = {**SUMMARY, "levelOfDetail": "SYMBOL_SUMMARY", "symbol": "AAA"}
    executions = "tick Executions in the Flex query"
    return {
        "nothing happened": (stated(empty), ""),
        "orders alone": (stated(empty | {"Trades": orders}), executions),
        "lots alone": (stated(empty | {"Trades": lots}), executions),
        "summary alone": (stated(empty | {"Trades": [summary]}), executions),
        "symbol alone": (stated(empty | {"Trades": [("SymbolSummary", per_symbol)]}), executions),
        "summary beside": (stated(sections | {"Trades": [*trades, summary]}), ""),
        "multiplier of stocks": (stated(sections | {"Trades": bare}), ""),
        "base not said": (stated(quiet), "tick Currency in the Flex query's section Account Inf"),
        "base by rates": (stated(without(sections, "AccountInformation")), ""),
        "base by NAV": (stated(changed(quiet, "ChangeInNAV", currency="USD")), ""),
        "base by equity": (
            stated(changed(quiet, "EquitySummaryByReportDateInBase", currency="USD")),
            "",
        ),
        "other base by rates": (
            stated(changed(sections, "ConversionRate", toCurrency="CHF")),
            "base currency is CHF (their section Conversion Rates says so)",
        ),
        "other base by NAV": (
            stated(changed(quiet, "ChangeInNAV", currency="CHF")),
            "base currency is CHF",
        ),
        "base of a part": (
            stated({"Trades": [], "CashTransactions": [], "OpenPositions": []}, sections),
            f"base currency was from {FIRST} to",
        ),
        "dividends not ticked": (stated(unpaid), "section Cash Transactions (tick all of its"),
        "dividends and the report": (
            stated(without(unpaid, "StmtFunds", "ChangeInNAV", "EquitySummaryInBase")),
            "the cash report: dividend",
        ),
        "dividends and the NAV": (
            stated(without(unpaid, "StmtFunds", "CashReport", "EquitySummaryInBase")),
            "ChangeInNAV: dividend",
        ),
        "transferred in": (
            stated(held | {"Transfers": [("Transfer", MOVED_IN)]}),
            "ZZZ: 10 of it came by a transfer (ACATS IN)",
        ),
        "transferred, and not ticked": (
            stated(without(held, "Transfers")),
            "the section Transfers is not in the statements",
        ),
        "no tags of orders": (
            stated(changed(sections, "Trade", orderReference="-")),
            "tick Order Reference",
        ),
    }


def test_each_kind_of_missing_evidence_has_its_reason(
    sections: dict[str, list[Row]], claim: str, tmp_path: Path
) -> None:
    every = cases(sections)
    texts = [text for text, _ in every.values()]
    for told, (name, (_, words)) in zip(
        nights(tmp_path, texts, {"one": claim}), every.items(), strict=True
    ):
        account, reasons = told.account, " | ".join(told.account["reasons"])
        assert account["status"] == ("unproven" if words else "proven"), (name, reasons)
        assert words in reasons, (name, reasons)
        if name == "lots alone":
            assert account["window"]["net"] is None, name
        assert "diverged" not in {bot["status"] for bot in told.bots} or not words, name
        if "transferred" in name:
            assert "a fill is missing" not in reasons, reasons


def test_the_documentation_asks_for_every_field_that_is_needed() -> None:
    asked = {section: fields for section, _, fields in table("venues/ibkr-flex.md", "section")}
    query = (sql_root() / "staging" / "flex" / "fields.sql").read_text(encoding="utf-8")
    with duckdb.connect() as database:
        needed = database.execute(f"select section, box, kind, field from ({query})").fetchall()
    assert len(needed) == len({(kind, field) for _, _, kind, field in needed})
    for section, box, *_ in needed:
        if section != "Trade Confirms":
            assert asked[section] == "all" or box in asked[section].split(", "), (section, box)
