"""IBKR's proofs over statements that none of us wrote: what they carry closes, or has a name."""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.ibkr_flex.statement import read_statements
from tests.support.flex_night import flex_account, nights

if "RECON_SHARED_DATA" not in os.environ:
    pytest.skip("RECON_SHARED_DATA names no folder of real files", allow_module_level=True)

FLEX = Path(os.environ["RECON_SHARED_DATA"]) / "flex"
SINCE, AS_OF = date(2012, 12, 3), date(2026, 4, 9)
BASE = {
    "portfolio-01": "CHF",
    "portfolio-02": "EUR",
    "portfolio-04": "CHF",
    "portfolio-05": "EUR",
    "portfolio-06": "EUR",
    "portfolio-07": "EUR",
    "portfolio-08": "EUR",
    "portfolio-09": "EUR",
    "portfolio-10": "EUR",
    "portfolio-13": "CHF",
    "portfolio-14": "CHF",
    "portfolio-15": "EUR",
    "portfolio-20": "EUR",
    "portfolio-21": "EUR",
    "portfolio-23": "EUR",
    "reader-activity": "EUR",
    "reader-statement-of-funds": "EUR",
}
"""The account's currency, where it isn't USD."""

NOTHING_STATED = {
    "conduit-cash-transactions": "no trades",
    "conduit-trade-confirmations": "trade confirmations have no fifoPnlRealized",
    "portfolio-03": "no trades",
    "portfolio-08": "no trades",
    "portfolio-11": "the one trade has no levelOfDetail, and is in quarantine",
    "portfolio-16": "its trades leave fifoPnlRealized out",
    "portfolio-24": "no trades",
    "reader-statement-of-funds": "no trades",
}
NOT_REALISED = {
    # Bought and sold on that day (the cash report says 550 and -470 of it), and yet each execution
    # restates its own proceeds as its cost, and says that it realised 0.
    ("reader-activity", "FDAX DEC 18"): Decimal(542),
    ("reader-activity", "YM   DEC 18"): Decimal("-478.12"),
}
ABBREVIATED = {
    "portfolio-20": "cut by hand: its trades and entries are a few of those it reports on",
    "portfolio-21": "cut by hand: its trades and entries are a few of those it reports on",
    "reader-statement-of-funds": "no section but the statement of funds: nothing of ours beside it",
}
STEMS = sorted(path.stem for path in FLEX.glob("*.xml"))


Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def proofs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Rows]]:
    """Give a file's stem, and what is proven of it: it is built once for all that is asked."""
    stem = request.param
    path = FLEX / f"{stem}.xml"
    account = flex_account(SINCE, BASE.get(stem, "USD"))
    statements = read_statements(path.read_bytes(), path.name)
    folder = tmp_path_factory.mktemp("proofs")
    with nights(folder / "w.duckdb", account, AS_OF, statements) as warehouse:
        return stem, {
            name: warehouse.rows(f"from proofs.flex_{name} order by all")
            for name in ("broker_pnl", "cash")
        }


@pytest.mark.parametrize("proofs", STEMS, indirect=True)
def test_what_ibkr_says_it_realised_is_what_we_reckon(proofs: tuple[str, dict[str, Rows]]) -> None:
    stem, rows = proofs[0], proofs[1]["broker_pnl"]
    assert bool(rows) is (stem not in NOTHING_STATED), "is there anything to compare?"
    differing = {(stem, row["name"]): row["difference"] for row in rows if not row["is_closed"]}
    assert differing == {key: value for key, value in NOT_REALISED.items() if key[0] == stem}


@pytest.mark.parametrize("proofs", ["portfolio-01"], indirect=True)
def test_a_tender_and_the_merger_that_paid_for_it_close_to_the_cent(
    proofs: tuple[str, dict[str, Rows]],
) -> None:
    [row] = [row for row in proofs[1]["broker_pnl"] if "TEN2" in row["name"]]
    assert row["place"] == "realised 2358 CAD, as IBKR says"


@pytest.mark.parametrize("proofs", STEMS, indirect=True)
def test_cash_closes_where_the_sections_are_whole(proofs: tuple[str, dict[str, Rows]]) -> None:
    stem, rows = proofs[0], proofs[1]["cash"]
    is_closed = all(row["is_closed"] for row in rows)
    assert is_closed is (stem not in ABBREVIATED)
    if stem in {"portfolio-14", "reader-activity"}:
        assert {"commission", "trade", "change"} <= {row["place"].split()[3] for row in rows}


@pytest.mark.parametrize("proofs", ["reader-statement-of-funds"], indirect=True)
def test_the_real_chain_of_balances_is_unbroken(proofs: tuple[str, dict[str, Rows]]) -> None:
    [chain] = [row for row in proofs[1]["cash"] if "chain" in row["place"]]
    assert chain["is_closed"]
