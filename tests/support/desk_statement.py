"""The statement that IBKR would write of a desk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from connectors.ibkr_flex.statement import Row, Statement
from tests.support.flex_desk import FIRST, LAST, RATES, SETTLED_DAILY, START_CASH, Desk, written


def statement(desk: Desk) -> Statement:
    """Return what IBKR states of a desk: every section that recon reads."""
    span = {"fromDate": f"{FIRST:%Y%m%d}", "toDate": f"{LAST:%Y%m%d}"}
    held = {name: book for name, book in desk.books.items() if book.position}
    sections: dict[str, list[Row]] = {
        "AccountInformation": [("AccountInformation", {"accountId": "U1", "currency": "USD"})],
        "Transfers": [],
    }
    sections |= {
        name: desk.rows[name]
        for name in ("Trades", "CashTransactions", "CorporateActions", "StmtFunds")
    }
    sections["OpenPositions"] = [
        (
            "OpenPosition",
            {
                "levelOfDetail": "SUMMARY",
                "assetCategory": desk.terms[name][0],
                "symbol": name,
                "conid": name,
                "currency": desk.terms[name][1],
                "position": written(book.position),
                "multiplier": str(desk.terms[name][2]),
                "markPrice": written(desk.marks[name]),
            },
        )
        for name, book in held.items()
    ]
    sections["CashReport"] = [
        (
            "CashReportCurrency",
            {
                "levelOfDetail": "Currency",
                "currency": currency,
                **span,
                "startingCash": written(START_CASH if currency == "USD" else Fraction(0)),
                "endingCash": written(desk.cash[currency]),
                **{
                    name: written(amount)
                    for (told_in, name), amount in desk.report.items()
                    if told_in == currency
                },
            },
        )
        for currency in desk.cash
    ]
    value = sum(
        (
            book.position * desk.marks[name] * desk.terms[name][2] * RATES[desk.terms[name][1]]
            for name, book in held.items()
            if desk.terms[name][0] not in SETTLED_DAILY
        ),
        Fraction(0),
    )
    value += sum((amount * RATES[currency] for currency, amount in desk.cash.items()), Fraction(0))
    before = FIRST - timedelta(days=3)
    sections["EquitySummaryInBase"] = [
        ("EquitySummaryByReportDateInBase", {"reportDate": f"{day:%Y%m%d}", "total": total})
        for day, total in ((before, written(START_CASH)), (LAST, written(value)))
    ]
    sections["ChangeInNAV"] = [
        (
            "ChangeInNAV",
            {
                **span,
                "startingValue": written(START_CASH),
                "endingValue": written(value),
                "depositsWithdrawals": _in_base(desk, "depositWithdrawals"),
                "dividends": _in_base(desk, "dividends", "paymentInLieu"),
                "withholdingTax": _in_base(desk, "withholdingTax"),
                "interest": _in_base(desk, "brokerInterest"),
                "otherFees": _in_base(desk, "otherFees"),
                "commissions": _in_base(desk, "commissions"),
            },
        )
    ]
    generated = datetime(2026, 4, 1, tzinfo=UTC)
    attributes = {"accountId": "U1", **span, "whenGenerated": "20260331;200000"}
    return Statement("U1", FIRST, LAST, generated, sections, attributes)


def _in_base(desk: Desk, *names: str) -> str:
    found = (a * RATES[c] for (c, name), a in desk.report.items() if name in names)
    return written(sum(found, Fraction(0)))
