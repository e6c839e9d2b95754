"""Commissions of corrected orders: what the order's rows sum to, carried on what is open.

IBKR cancels a booking, often at a commission of 0, and books it again at the difference to what was
charged before. Each row counts; none is a cost of its own while what the order bought is held.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from connectors.ibkr_flex.statement import Row
from tests.support.flex_desk import written
from tests.support.flex_night import flex_account, nights, one_statement, trade
from tests.support.reckoner import Fill, Reckoner

FIRST = date(2026, 1, 5)
LAST = date(2026, 2, 6)
PRICE = Fraction(50)


@dataclass
class Orders:
    """Orders of one symbol each, some of them corrected, and what each should cost."""

    rng: random.Random
    rows: list[Row] = field(default_factory=list)
    paid: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    held: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))

    def commission(self) -> Fraction:
        return Fraction(self.rng.randint(-900, 300), 100)

    def book(self, symbol: str, day: date, qty: Fraction, fee: Fraction, **names: Any) -> None:
        self.rows.append(trade(symbol, day, qty, PRICE, fee, ibOrderID=f"O{symbol}", **names))
        self.paid[symbol] += fee
        self.held[symbol] += qty

    def order(self, symbol: str, *, has_trade_ids: bool) -> None:
        """Buy in one to three executions, and correct some of them, some more than once."""
        for n in range(self.rng.randint(1, 3)):
            qty = Fraction(self.rng.randint(1, 9))
            name = f"T{symbol}{n}" if has_trade_ids else ""
            self.book(symbol, FIRST, qty, self.commission(), tradeID=name)
            for later in range(self.rng.randint(0, 2) or int(n == 0)):
                report = f"{FIRST + timedelta(days=1 + later):%Y%m%d}"
                back = {"notes": "Ca", "transactionType": "TradeCancel", "reportDate": report}
                fee = self.rng.choice([Fraction(0), self.commission()])
                self.book(symbol, FIRST, -qty, fee, tradeID="", origTradeID=name, **back)
                parts = [qty]
                if qty > 1 and self.rng.random() < 0.3:  # booked again in two parts
                    parts = [Fraction(1), qty - 1]
                for part in parts:
                    fee = self.commission()
                    self.book(symbol, FIRST, part, fee, tradeID=name, reportDate=report)
                if len(parts) > 1:
                    break


@pytest.fixture(scope="module")
def orders() -> Orders:
    """Give 40 orders; the cancels of a quarter name the order, and no trade."""
    made = Orders(random.Random(6))
    for n in range(40):
        made.order(f"S{n:02}", has_trade_ids=n % 4 > 0)
    return made


def test_what_an_order_s_rows_sum_to_is_carried_and_then_released_with_what_is_closed(
    orders: Orders, tmp_path: Path
) -> None:
    sold = {symbol: Fraction(qty // 2) for symbol, qty in orders.held.items()}
    sales = [
        trade(symbol, FIRST + timedelta(days=10), -qty, Fraction(60), Fraction(-1))
        for symbol, qty in sold.items()
        if qty
    ]
    rest = [
        trade(symbol, FIRST + timedelta(days=20), sold[symbol] - qty, Fraction(60), Fraction(-1))
        for symbol, qty in orders.held.items()
    ]
    evenings = [
        [one_statement(FIRST, FIRST, Trades=orders.rows[:20])],
        [one_statement(FIRST, FIRST + timedelta(days=3), Trades=orders.rows)],
        [one_statement(FIRST, FIRST + timedelta(days=12), Trades=[*orders.rows, *sales])],
        [one_statement(FIRST, LAST, Trades=[*orders.rows, *sales, *rest])],
    ]
    for number in (2, 3, 4):
        path = tmp_path / f"{number}.duckdb"
        with nights(path, flex_account(FIRST), LAST, *evenings[:number]) as warehouse:
            assert warehouse.rows("from evidence.quarantine") == []
            found = {
                row["instrument"]: row
                for row in warehouse.rows(
                    "select instrument, sum(fees) as fees, sum(open_costs) as open_costs,"
                    " sum(gross) as gross from lots.realised where scope = 'account' group by all"
                )
            }
        for symbol, paid in orders.paid.items():
            closing = [qty for qty in (sold[symbol], orders.held[symbol] - sold[symbol]) if qty]
            closings = {2: 0, 3: int(sold[symbol] > 0), 4: len(closing)}[number]
            fees, open_costs = (
                Fraction(found[symbol]["fees"]),
                Fraction(found[symbol]["open_costs"]),
            )
            assert fees + open_costs == paid - closings, (number, symbol)
            if number == 2:
                assert fees == 0, symbol
            if number == 4:
                assert open_costs == 0, symbol
                assert Fraction(found[symbol]["gross"]) == 10 * orders.held[symbol]


def test_a_trade_s_rebookings_share_its_commission_in_proportion(tmp_path: Path) -> None:
    """700 of commission: two thirds of it on the fill that is sold, to the last digit."""
    cancel: dict[str, Any] = {"notes": "Ca", "transactionType": "TradeCancel", "origTradeID": "T"}
    rows = [
        trade("X", FIRST, Fraction(3), PRICE, Fraction(-7), tradeID="T"),
        trade("X", FIRST, Fraction(-3), PRICE, Fraction(0), tradeID="", **cancel),
        trade("X", FIRST, Fraction(2), PRICE, Fraction(1), tradeID="T"),
        trade("X", FIRST, Fraction(1), PRICE, Fraction(-1), tradeID="T"),
        trade("X", FIRST + timedelta(days=1), Fraction(-2), Fraction(60), Fraction(0)),
    ]
    book = Reckoner("fifo", is_rounding=False)
    for qty, price, fee in (
        (Fraction(2), PRICE, 1 - Fraction(14, 3)),
        (Fraction(1), PRICE, -1 - Fraction(7, 3)),
    ):
        book.fill(Fill(qty, price, fee))
    outcome = book.fill(Fill(Fraction(-2), Fraction(60), Fraction(0)))
    statement = one_statement(FIRST, LAST, Trades=rows)
    with nights(tmp_path / "w.duckdb", flex_account(FIRST), LAST, [statement]) as warehouse:
        [total] = warehouse.rows("from pnl.total where scope = 'account'")
    assert abs(Fraction(total["fees"]) - outcome.fees) <= Fraction(1, 10**12)
    assert total["fees"] + total["open_costs"] == Decimal(-7)
    assert total["gross"] == Decimal(written(outcome.gross))
