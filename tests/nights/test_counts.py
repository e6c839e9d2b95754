"""Counts through whole nights: every fill is staged once, and the money is exact to the digit."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from recon.cli import run_cli
from recon.demo.venues.okx_account import OkxAccount
from tests.support.fleet import (
    Deal,
    Desk,
    Trader,
    account,
    book_all,
    deals,
    reckoned,
    round_trips,
    rows,
    run,
    serving,
    unpaced,
    write_folder,
)

UNIT = Fraction(1, 10**18)


def number(text: str) -> Fraction:
    return Fraction(Decimal(text))


def held(plan: list[Deal]) -> dict[str, int]:
    positions: dict[str, int] = {}
    for one in plan:
        change = one.qty if one.side == "buy" else -one.qty
        positions[one.instrument] = positions.get(one.instrument, 0) + change
    return {name: qty for name, qty in positions.items() if qty}


def check_numbers(entry: dict[str, Any], plan: list[Deal]) -> None:
    """Compare an account's total with the reckoner's, within what cutting to 10^-18 may lose."""
    expected = reckoned(plan)
    for name in ("gross", "fees", "net", "open_costs"):
        off = abs(number(entry["window"][name]) - expected[name])
        assert off <= UNIT * 2 * max(1, len(plan)), (name, entry["window"][name])
    paid = number(entry["window"]["fees"]) + number(entry["window"]["open_costs"])
    assert paid == sum((one.fee for one in plan), Fraction(0))
    if not held(plan):
        assert number(entry["window"]["net"]) == expected["net"]


@pytest.mark.parametrize(
    ("fills", "group"),
    [(0, 1), (1, 1), (99, 3), (100, 100), (101, 101), (101, 1), (3_500, 120), (10_050, 4)],
)
def test_every_fill_is_staged_and_the_sums_are_exact(
    fills: int, group: int, tmp_path: Path
) -> None:
    book = account()
    plan = deals(fills, group=group)
    bill_ids = book_all(book, plan)

    with serving(book) as server:
        document = run(tmp_path, server)

    [entry] = document["accounts"]
    assert entry["status"] == "proven", entry["reasons"]
    assert entry["proofs"]["positions"]["status"] == entry["proofs"]["cash"]["status"] == "closed"
    assert rows(tmp_path, "select count(*) from evidence.fills") == [(fills,)]
    staged = rows(tmp_path, "select fill_id from evidence.fills order by seq")
    assert [int(fill_id) for (fill_id,) in staged] == bill_ids
    assert rows(tmp_path, "select count(*) from evidence.ledger") == [(fills + 1,)]
    assert rows(tmp_path, "select count(*) from evidence.quarantine") == [(0,)]
    open_now = rows(tmp_path, "select instrument, qty from pnl.open_lots where scope = 'account'")
    assert {name: int(qty) for name, qty in open_now} == held(plan)
    check_numbers(entry, plan)


def test_a_flat_account_nets_what_its_cash_moved_to_the_last_digit(tmp_path: Path) -> None:
    book = account()
    round_trips(book, 25)
    moved = sum(
        (Fraction(str(row["balChg"])) for row in book.bills.rows if row["type"] != "1"), Fraction(0)
    )

    with serving(book) as server:
        document = run(tmp_path, server)

    [entry] = document["accounts"]
    assert entry["status"] == "proven"
    assert number(entry["window"]["net"]) == moved
    assert entry["window"]["open_costs"] == entry["window"]["unrealised"] == "0"
    assert entry["window"]["funding"] == "-3.125"


@pytest.mark.timeout(300)
def test_ten_thousand_fills_through_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = today - timedelta(days=9)
    book = OkxAccount()
    book.deposit("USDT", 100_000, start)
    plan = deals(10_050, group=7, start=start)
    book_all(book, plan)

    with serving(book) as server, unpaced():
        config = write_folder(tmp_path, [(Desk(since=start.date()), server)], [Trader()], "")
        status = run_cli(["run", "--json", "--no-page", "--config", str(config)])

    shown = capsys.readouterr()
    document = json.loads(shown.out)
    [entry] = document["accounts"]
    assert entry["status"] == "proven", entry["reasons"]
    assert status == 1
    assert document["status"] == "diverged"
    assert rows(tmp_path, "select count(*) from evidence.fills") == [(10_050,)]
    check_numbers(entry, plan)
