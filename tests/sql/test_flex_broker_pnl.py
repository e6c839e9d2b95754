"""What IBKR says that an instrument realised, held to what recon reckons.

IBKR rounds the PnL of each lot that an execution closes at the sixth decimal.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

from connectors.ibkr_flex.statement import Row
from tests.support.flex_night import flex_account, nights, one_statement, trade

FIRST = date(2026, 1, 5)
LAST = FIRST + timedelta(3)
MILLIONTH = Fraction(1, 10**6)
CASES = {
    "AA": (1, 0, True),
    "AB": (1, 1, True),
    "AC": (1, 2, False),
    "AD": (1, -2, False),
    "BA": (9, 9, True),
    "BB": (9, -9, True),
    "BC": (9, 10, False),
    "BD": (9, -10, False),
}
"""By symbol: the lots that one sale closes, by how many millionths IBKR's figure differs from the
exact one, and whether the proof closes."""


def sold_at_once(symbol: str, lots: int, off: int) -> list[Row]:
    """Return `lots` purchases, and the one sale of all of them on the next day."""
    rng = random.Random(symbol)
    buys = [(rng.randint(1, 9), Fraction(rng.randint(30, 40)), Fraction(-1)) for _ in range(lots)]
    realised = sum((qty * (35 - paid) + fee for qty, paid, fee in buys), Fraction(0))
    sold = -Fraction(sum(qty for qty, _, _ in buys))
    return [
        *(trade(symbol, FIRST, Fraction(qty), paid, fee) for qty, paid, fee in buys),
        trade(
            symbol, FIRST + timedelta(1), sold, Fraction(35), realised=realised + off * MILLIONTH
        ),
    ]


def test_the_bound_is_a_millionth_for_each_lot_closed(tmp_path: Path) -> None:
    rows = [row for name, (lots, off, _) in CASES.items() for row in sold_at_once(name, lots, off)]
    statement = one_statement(FIRST, LAST, Trades=rows)
    with nights(tmp_path / "w.duckdb", flex_account(FIRST), LAST, [statement]) as warehouse:
        found = warehouse.rows("select name, is_closed from proofs.flex_broker_pnl")
    assert {row["name"]: row["is_closed"] for row in found} == {
        name: is_closed for name, (_, _, is_closed) in CASES.items()
    }
