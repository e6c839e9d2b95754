"""The commission of a conversion may be charged in another currency than the one it is shown in."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

from connectors.ibkr_flex.statement import Row
from tests.support.flex_night import flex_account, nights, one_statement, trade

FIRST = date(2026, 1, 5)
WEEK = timedelta(days=7)


def cash_report(first: date, currency: str, change: str, commissions: str, sales: str) -> Row:
    last = first + timedelta(days=4)
    return "CashReportCurrency", {
        "currency": currency,
        "fromDate": f"{first:%Y%m%d}",
        "toDate": f"{last:%Y%m%d}",
        "levelOfDetail": "BaseCurrency" if currency == "BASE_SUMMARY" else "Currency",
        "startingCash": "0",
        "endingCash": change,
        "commissions": commissions,
        "netTradesSales": sales,
        "netTradesPurchases": "0",
    }


def conversion(day: date) -> Row:
    """Sell 100 dollars for 80 euros at a commission of 2 dollars, worth 1.60 euros."""
    return trade(
        "USD.EUR",
        day,
        Fraction(-100),
        Fraction(4, 5),
        Fraction(-2),
        assetCategory="CASH",
        currency="EUR",
        ibCommissionCurrency="USD",
        conid="99",
    )


def proven(path: Path, base_commissions: str | None) -> dict[tuple[str, str], tuple[bool, str]]:
    """Return what the cash report proves: euros were charged 1.61, and dollars nothing."""
    rows = [
        cash_report(FIRST, "USD", "-100", "0", "-100"),
        cash_report(FIRST, "EUR", "78.39", "-1.61", "80"),
    ]
    if base_commissions is not None:
        rows.append(cash_report(FIRST, "BASE_SUMMARY", "0", base_commissions, "0"))
    rate = {"reportDate": f"{FIRST:%Y%m%d}", "fromCurrency": "USD", "toCurrency": "EUR"}
    statement = one_statement(
        FIRST,
        FIRST + timedelta(days=4),
        Trades=[conversion(FIRST)],
        CashReport=rows,
        ConversionRates=[("ConversionRate", rate | {"rate": "0.8"})],
    )
    account = flex_account(FIRST, "EUR")
    with nights(path, account, FIRST + timedelta(days=4), [statement]) as warehouse:
        found = warehouse.rows("from proofs.flex_cash")
    return {
        (row["name"], row["place"].split(":")[1].split()[0].strip(",")): (
            row["is_closed"],
            row["place"],
        )
        for row in found
    }


def test_it_closes_in_the_base_currency_and_says_which_currency_was_charged(tmp_path: Path) -> None:
    found = proven(tmp_path / "w.duckdb", "-1.61")
    assert all(is_closed for is_closed, _ in found.values()), found
    assert "shown in USD and charged in EUR" in found["USD", "commission"][1]
    assert {("USD", "change"), ("EUR", "change"), ("EUR", "commission")} <= found.keys()


def test_without_a_sum_that_agrees_it_does_not_close(tmp_path: Path) -> None:
    for number, stated in enumerate([None, "-1.70"]):
        found = proven(tmp_path / f"{number}.duckdb", stated)
        assert not found["USD", "commission"][0]
        assert not found["EUR", "commission"][0]
