"""The reader, the landing and the staging over statements that none of us wrote."""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.ibkr_flex.statement import CutOffError, read_statements
from recon.errors import StatementError
from recon.warehouse.database import Warehouse
from tests.support.flex_staging import fetched, land, stage

if "RECON_SHARED_DATA" not in os.environ:
    pytest.skip("RECON_SHARED_DATA names no folder of real files", allow_module_level=True)

DATA = Path(os.environ["RECON_SHARED_DATA"])
SINCE = date(2012, 12, 3)
CENT = Decimal("0.005")
STEMS = [
    "conduit-cash-transactions", "conduit-trade-confirmations", "portfolio-01", "portfolio-02",
    "portfolio-03", "portfolio-04", "portfolio-05", "portfolio-06", "portfolio-07", "portfolio-08",
    "portfolio-09", "portfolio-10", "portfolio-11", "portfolio-13", "portfolio-14", "portfolio-15",
    "portfolio-16", "portfolio-20", "portfolio-21", "portfolio-23", "portfolio-24",
    "reader-activity", "reader-statement-of-funds",
]  # fmt: skip

# Rows that do not keep an identity: (file, symbol, transactionType), each for its reason.
NOT_PRODUCT = {
    # FUND: the amount that was ordered, not units times price.
    ("portfolio-15", "009086587", "ExchTrade"),
}
NOT_NET_CASH = {
    # Option assignment: the stock leg's netCash leaves out its commission.
    ("portfolio-02", "ORCL", "BookTrade"),
    # CFD, FUT and CASH rows are left out by category: venues.md says what their netCash is.
}
NOT_FIFO = {
    # Option assignment: the premium moves into the stock's cost, so neither leg adds up.
    ("portfolio-02", "ORCL", "BookTrade"),
    ("portfolio-02", "ORCL  170915P00050000", "BookTrade"),
}
Execution = tuple[tuple[str, str, str], dict[str, str]]


def staged(path: Path, folder: Path, currency: str = "USD") -> Warehouse:
    """Return a warehouse with the file's staging; the caller closes it."""
    warehouse = Warehouse(folder / "warehouse.duckdb")
    land(warehouse, fetched([path], SINCE))
    assert stage(warehouse, SINCE, currency) == []
    return warehouse


def executions() -> list[Execution]:
    return [
        ((path.stem, row["symbol"], row["transactionType"]), row)
        for path in sorted((DATA / "flex").glob("*.xml"))
        for statement in read_statements(path.read_bytes(), path.name)
        for tag, row in statement.sections.get("Trades", [])
        if tag == "Trade" and row.get("levelOfDetail") == "EXECUTION"
    ]


def broken(rows: list[Execution], left: str, *right: str, unless: frozenset[str]) -> set[object]:
    """Return the names of the rows where `left` is not the sum of `right`."""
    return {
        name
        for name, row in rows
        if row["assetCategory"] not in unless
        and row.get(left)
        and abs(Decimal(row[left]) - sum(Decimal(row[term]) for term in right)) > CENT
    }


def test_these_are_the_files() -> None:
    assert sorted(path.stem for path in (DATA / "flex").glob("*.xml")) == STEMS


def test_proceeds_are_the_product() -> None:
    rows = executions()
    assert len(rows) == 62
    found = {
        name
        for name, row in rows
        if abs(
            Decimal(row["proceeds"])
            + Decimal(row["quantity"]) * Decimal(row["tradePrice"]) * Decimal(row["multiplier"])
        )
        > CENT
    }
    assert found == NOT_PRODUCT


def test_realised_includes_both_legs_commission() -> None:
    found = broken(
        executions(),
        "fifoPnlRealized",
        "proceeds",
        "ibCommission",
        "taxes",
        "cost",
        unless=frozenset({"CASH"}),
    )
    assert found == NOT_FIFO


def test_net_cash_by_category() -> None:
    rows = executions()
    found = broken(
        rows,
        "netCash",
        "proceeds",
        "ibCommission",
        "taxes",
        unless=frozenset({"CASH", "FUT", "CFD", "FUND"}),
    )
    assert found == NOT_NET_CASH
    kinds = frozenset({"STK", "OPT", "FOP", "WAR", "IOPT", "FUND", "FUT", "CFD", "CASH"})
    assert broken(rows, "netCash", "mtmPnl", "ibCommission", unless=kinds - {"FUT"}) == set()
    assert broken(rows, "netCash", "ibCommission", unless=kinds - {"CFD"}) == set()
    assert broken(rows, "netCash", unless=kinds - {"CASH"}) == set()


@pytest.mark.parametrize("stem", STEMS)
def test_every_real_file_lands_and_is_conserved(stem: str, tmp_path: Path) -> None:
    with staged(DATA / "flex" / f"{stem}.xml", tmp_path) as warehouse:
        quarantine = warehouse.rows("select * from staging.flex_quarantine")
    if stem == "portfolio-11":
        assert [row["reason"] for row in quarantine] == [
            "levelOfDetail is missing: add the field Level of Detail to the Flex query"
        ]
    else:
        assert quarantine == []


@pytest.mark.parametrize(
    ("stem", "table", "rows"),
    [
        ("conduit-trade-confirmations", "fills", 39),
        ("conduit-cash-transactions", "ledger", 3),
        ("reader-activity", "fills", 15),
        ("portfolio-01", "fills", 15),
        ("portfolio-20", "fills", 1),
        ("portfolio-14", "fills", 6),
        ("portfolio-24", "ledger", 10),
        ("portfolio-09", "fills", 0),
        ("portfolio-03", "ledger", 1),
    ],
)
def test_what_they_hold(stem: str, table: str, rows: int, tmp_path: Path) -> None:
    with staged(DATA / "flex" / f"{stem}.xml", tmp_path) as warehouse:
        assert len(warehouse.rows(f"select * from staging.flex_{table}")) == rows


def test_the_cancelled_trades_commission_stays_paid(tmp_path: Path) -> None:
    with staged(DATA / "flex" / "portfolio-09.xml", tmp_path, "EUR") as warehouse:
        rows = warehouse.rows("select kind, amount, currency from staging.flex_ledger")
    assert rows == [{"kind": "fee", "amount": Decimal("-2.4444"), "currency": "EUR"}]


def test_the_fund_is_worth_what_was_paid(tmp_path: Path) -> None:
    with staged(DATA / "flex" / "portfolio-15.xml", tmp_path, "EUR") as warehouse:
        rows = warehouse.rows("select instrument, proceeds from staging.flex_fills")
        assert warehouse.rows("from staging.flex_findings") == []
    assert rows == [{"instrument": "009086587", "proceeds": Decimal(10_000)}]


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("not-well-formed", CutOffError, "line 81, column 67"),
        ("portfolio-12-nesting", StatementError, "line 2: <AccountInformation> is in"),
    ],
)
def test_malformed_structure_is_an_error(name: str, error: type[StatementError], says: str) -> None:
    path = DATA / "flex-malformed" / f"{name}.xml"
    with pytest.raises(error, match=says):
        read_statements(path.read_bytes(), path.name)


LEVEL = "levelOfDetail is missing: add the field Level of Detail to the Flex query"


@pytest.mark.parametrize(
    ("name", "quarantined", "found"),
    [
        (
            "activity_cash",
            [
                f'type "{t}" is not known'
                for t in ("Bond Interest", "Cash Receipts", "Realized P/L")
            ],
            0,
        ),
        ("activity_complex_corporate_actions", [], 8),  # two papers, a bond and its share, are DEF
        ("activity_corporate_actions", [], 6),  # a split and a merger for cash are computed
        (
            "activity_futures",
            [LEVEL + "; proceeds 0 are not -quantity * price * multiplier"] * 4
            + ["levelOfDetail CONTRACT is not known"] * 3
            + ['type "Realized P/L" is not known'],
            0,
        ),
        ("activity_options", [LEVEL] * 4, 0),
    ],
)
def test_values_that_ibkr_does_not_send_are_named(
    name: str, quarantined: list[str], found: int, tmp_path: Path
) -> None:
    with staged(DATA / "flex-malformed" / f"{name}.xml", tmp_path) as warehouse:
        rows = warehouse.rows("select reason from staging.flex_quarantine order by reason")
        findings = warehouse.rows("select distinct instrument, reason from staging.flex_findings")
    assert [row["reason"] for row in rows] == sorted(quarantined)
    assert len(findings) == found
