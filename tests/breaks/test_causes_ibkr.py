"""Causes at Interactive Brokers: commissions, a corrected execution, unnamed entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from recon.config.settings import load
from recon.core.calendars import calendar
from recon.demo.story.basket import basket
from recon.demo.story.basket_statement import WRONG_PRICE, statement
from recon.demo.story.bot_databases import OWN_MAPPING, TradeRow, write_own_vault
from recon.run.nightly import Night, run_night

AS_OF = date(2026, 5, 14)
SINCE = AS_OF - timedelta(days=40)
NOW = datetime.combine(AS_OF + timedelta(days=1), time(12), UTC)
HISTORY = basket(calendar("XNYS"), SINCE, AS_OF)
ROWS = HISTORY.vault_rows()
RIGHT_PRICE = Decimal("512.03")
TOML = f"""
[[accounts]]
id = "ib"
venue = "ibkr-flex"
currency = "USD"
since = {SINCE}
files = "statement.xml"

[[bots]]
id = "basket"
account = "ib"
instruments = ["SPY", "AAPL", "MSFT", "QQQ", "XOM"]
database = "sqlite:///vault.sqlite"
mapping = "mapping"
"""


def gross(row: TradeRow) -> Decimal:
    return row.size * (row.exit_price - row.entry_price)


def wrongly_told(row: TradeRow) -> TradeRow:
    """Return a row as it was before IBKR corrected its opening execution."""
    if row.symbol != "MSFT":
        return row
    moved = row.size * (RIGHT_PRICE - WRONG_PRICE)
    return replace(row, entry_price=WRONG_PRICE, pnl=row.pnl + moved)


FORGETFUL = [replace(row, pnl=gross(row)) for row in ROWS]
LATE = [wrongly_told(row) for row in ROWS]
CASES: dict[str, tuple[Sequence[TradeRow], dict[str, Decimal]]] = {
    "honest": (ROWS, {}),
    "without commissions": (
        FORGETFUL,
        {"fee_missing": sum((row.pnl for row in FORGETFUL), Decimal(0)) - HISTORY.realised},
    ),
    "before the correction": (
        LATE,
        {"correction": sum((row.pnl for row in LATE), Decimal(0)) - HISTORY.realised},
    ),
    "one row lost": (ROWS[:-1], {"unrecorded": -ROWS[-1].pnl}),
}


@pytest.mark.parametrize("case", CASES)
def test_each_cause_is_named_though_no_row_names_its_entry(case: str, tmp_path: Path) -> None:
    rows, due = CASES[case]
    (tmp_path / "statement.xml").write_text(statement(HISTORY, NOW))
    (tmp_path / "recon.toml").write_text(TOML)
    (tmp_path / "mapping").mkdir()
    (tmp_path / "mapping" / "trades.sql").write_text(OWN_MAPPING)
    write_own_vault(tmp_path / "vault.sqlite", rows)
    night = Night(load(tmp_path / "recon.toml"), as_of=AS_OF, is_paging=False, now=lambda: NOW)
    document = run_night(night)
    assert document["accounts"][0]["status"] == "proven", document["accounts"][0]["reasons"]
    [bot] = document["bots"]
    causes = {one["cause"]: Fraction(one["amount"]) for one in bot["window"]["causes"]}
    assert sum(causes.values()) == Fraction(bot["window"]["divergence"])
    assert causes.pop("unexplained") == 0
    assert causes.keys() == due.keys()
    for cause, amount in due.items():
        assert abs(causes[cause] - Fraction(amount)) < Fraction(1, 10**9)
