"""An IBKR instrument is its conid; symbols are its names, and may pass from one to another."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from connectors.ibkr_flex.statement import Row, Statement
from recon.config.settings import Bot
from tests.support.flex_night import flex_account, nights, one_statement, position, trade

FIRST = date(2026, 1, 5)
LAST = date(2026, 1, 30)
ACTED = FIRST + timedelta(days=8)


def bot(name: str, *instruments: str) -> Bot:
    return Bot.model_construct(id=name, account="ib", order_tag=None, instruments=instruments)


BOTS = [
    bot("renamed", "OLDNAME"),
    bot("reused", "SAME"),
    bot("split", "GCM"),
    bot("left", "METV"),
    bot("came", "META"),
    bot("one", "AA"),
    bot("two", "BB"),
]


def later(days: int) -> date:
    return FIRST + timedelta(days=days)


def round_trip(
    names: tuple[str, str], conid: str, days: tuple[int, int], gain: int, **fields: Any
) -> list[Row]:
    """Return a purchase of 10 under one symbol, and their sale under another, at `gain` in all."""
    realised: dict[str, Any] = {"realised": Fraction(gain - 2)}
    return [
        trade(names[0], later(days[0]), Fraction(10), Fraction(50), Fraction(-1), conid=conid,
              **fields),
        trade(names[1], later(days[1]), Fraction(-10), 50 + Fraction(gain, 10), Fraction(-1),
              conid=conid, **realised, **fields),
    ]  # fmt: skip


def action(symbol: str, conid: str, qty: int, headline: str) -> Row:
    return "CorporateAction", {
        "levelOfDetail": "DETAIL",
        "symbol": symbol,
        "conid": conid,
        "assetCategory": "STK",
        "currency": "USD",
        "fxRateToBase": "1",
        "multiplier": "1",
        "type": "RS",
        "code": "",
        "quantity": str(qty),
        "proceeds": "0",
        "fifoPnlRealized": "0",
        "dateTime": f"{ACTED:%Y%m%d};202500",
        "reportDate": f"{ACTED:%Y%m%d}",
        "description": f"{headline} ({symbol}, A COMPANY, US{conid})",
    }


def statements() -> list[Statement]:
    """Return three weeks of one account: renamed, reused and replaced papers."""
    split = "GCM(CA1) SPLIT 1 FOR 5"
    rows = [
        *round_trip(("OLDNAME", "NEWNAME"), "1", (0, 15), 100),
        *round_trip(("SAME", "SAME"), "2", (0, 3), 30),
        # Another paper takes the symbol, and the first one's lots are not its lots.
        trade("SAME", later(4), Fraction(10), Fraction(70), Fraction(-1), conid="2"),
        *round_trip(("SAME", "SAME"), "3", (14, 16), -20),
        # FB becomes META, and what was META has become METV before.
        *round_trip(("META", "METV"), "4", (0, 2), 40),
        *round_trip(("FB", "META"), "5", (0, 16), 60),
        *round_trip(("AA", "BB"), "6", (1, 15), 70),
        trade("GCM", FIRST, Fraction(10), Fraction(10), Fraction(0), conid="8"),
        trade(
            "GCM",
            later(16),
            Fraction(-2),
            Fraction(60),
            Fraction(0),
            conid="9",
            realised=Fraction(20),
        ),
    ]
    actions = [action("GCM.OLD", "8", -10, split), action("GCM", "9", 2, split)]
    held = [position("SAME", Fraction(10), Fraction(70), conid="2")]
    ends = [FIRST, *(later(days) for days in (6, 13, 18, 25))]
    found = []
    for first, last in pairwise(ends):
        begins = first if first == FIRST else first + timedelta(days=1)
        days = {f"{begins + timedelta(days=n):%Y%m%d}" for n in range((last - begins).days + 1)}
        found.append(
            one_statement(
                begins,
                last,
                Trades=[row for row in rows if row[1]["tradeDate"] in days],
                CorporateActions=actions if f"{ACTED:%Y%m%d}" in days else [],
                OpenPositions=held,
                AccountInformation=[("AccountInformation", {"currency": "USD"})],
            )
        )
    return found


TABLES = {
    "realised": "select * from lots.realised order by all",
    "findings": "select * from proofs.findings order by all",
    "positions": "select * from proofs.positions order by all",
    "broker_pnl": "select name, place, is_closed from proofs.flex_broker_pnl order by all",
    "net": "select bot, net::varchar as net from pnl.total where scope = 'bot' order by all",
}


def told(path: Path, *evenings: list[Statement]) -> dict[str, list[dict[str, Any]]]:
    account = flex_account(FIRST)
    with nights(path, account, LAST, *evenings, bots=BOTS) as warehouse:
        return {name: warehouse.rows(query) for name, query in TABLES.items()}


@pytest.fixture(scope="module")
def weeks() -> list[Statement]:
    return statements()


def test_an_instrument_is_its_conid_whatever_it_is_called(
    weeks: list[Statement], tmp_path: Path
) -> None:
    found = told(tmp_path / "w.duckdb", weeks)
    assert found["positions"] == []
    assert [row for row in found["broker_pnl"] if not row["is_closed"]] == []
    nets = {row["bot"]: Fraction(row["net"]) for row in found["net"]}
    # Each round trip paid 2; the 10 SAME of conid 2 that are held have realised nothing.
    assert nets == {
        "renamed": 98,
        "reused": 28 - 22,
        "split": 20,
        "left": 38,
        "came": 58,
        "one": 68,
    }
    # META has been the symbol of two papers: METV's bot owns the one that is METV now.
    # Two bots own one paper under different symbols: nobody can tell whose it is.
    assert [(row["instrument"], "one and two" in row["reason"]) for row in found["findings"]] == [
        ("BB", True)
    ]
    names = {row["instrument"] for row in found["realised"]}
    assert {"NEWNAME", "SAME", "SAME (conid 2)", "META", "METV", "GCM", "GCM.OLD"} <= names


def test_names_are_the_same_in_whatever_order_the_statements_come(
    weeks: list[Statement], tmp_path: Path
) -> None:
    expected = told(tmp_path / "whole.duckdb", weeks)
    evenings = [[weeks[place]] for place in (3, 1, 0, 2)]
    assert told(tmp_path / "nights.duckdb", *evenings) == expected
