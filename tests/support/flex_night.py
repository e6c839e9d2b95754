"""One IBKR account's statements through a night's tables: landed, built, and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

from connectors.ibkr_flex.connector import records
from connectors.ibkr_flex.statement import Row, Statement
from recon.breaks.claims import keep_claims
from recon.config.settings import Bot, FlexAccount
from recon.core.calendars import calendar, window
from recon.core.records import Coverage, Method, Record
from recon.fetch.plan import Plan
from recon.run.pipeline import build, configure
from recon.warehouse.database import Warehouse
from tests.support.flex_desk import written

NEW_YORK = calendar("XNYS")
NUMBERS = count(1_000_000)
"""IBKR's transaction ids: each row has another one, and they rise."""


def flex_account(since: date, currency: str = "USD", lots: Method = "fifo") -> FlexAccount:
    return FlexAccount.model_construct(
        id="ib", venue="ibkr-flex", currency=currency, lots=lots, calendar="XNYS", since=since
    )


def trade(
    symbol: str,
    day: date,
    qty: Fraction,
    price: Fraction,
    fee: Fraction = Fraction(0),
    *,
    realised: Fraction = Fraction(0),
    clock: str = "100000",
    **fields: str,
) -> Row:
    """Return an execution as IBKR writes it; `fields` take the place of what it would say."""
    proceeds = -qty * price * Fraction(fields.get("multiplier", "1"))
    currency = fields.get("currency", "USD")
    return "Trade", {
        "levelOfDetail": "EXECUTION",
        "assetCategory": "STK",
        "symbol": symbol,
        "currency": currency,
        "fxRateToBase": "1",
        "multiplier": "1",
        "notes": "",
        "transactionType": "ExchTrade",
        "tradeID": "",
        "origTradeID": "",
        "quantity": written(qty),
        "tradePrice": written(price),
        "proceeds": written(proceeds),
        "taxes": "0",
        "ibCommission": written(fee),
        "ibCommissionCurrency": currency,
        "netCash": written(proceeds + fee),
        "fifoPnlRealized": written(realised),
        "transactionID": str(next(NUMBERS)),
        "dateTime": f"{day:%Y%m%d};{clock}",
        "tradeDate": f"{day:%Y%m%d}",
        "reportDate": f"{day:%Y%m%d}",
        **fields,
    }


def position(symbol: str, qty: Fraction, mark: Fraction, **fields: str) -> Row:
    """Return an open position as IBKR writes it."""
    return "OpenPosition", {
        "levelOfDetail": "SUMMARY",
        "assetCategory": "STK",
        "symbol": symbol,
        "currency": "USD",
        "multiplier": "1",
        "position": written(qty),
        "markPrice": written(mark),
        "costBasisPrice": written(mark),
        **fields,
    }


def one_statement(first: date, last: date, **sections: Sequence[Row]) -> Statement:
    """Return a statement of these sections, and of the usual ones, empty; made the next morning."""
    usual: dict[str, list[Row]] = {
        name: [] for name in ("Trades", "CashTransactions", "OpenPositions", "CorporateActions")
    }
    made = datetime.combine(last + timedelta(days=1), time(11), UTC)
    return Statement(
        "U1",
        first,
        last,
        made,
        usual | {name: list(rows) for name, rows in sections.items()},
        {"accountId": "U1", "whenGenerated": f"{last + timedelta(days=1):%Y%m%d};060000"},
    )


def stated(statements: Sequence[Statement]) -> Iterator[Coverage]:
    """Yield until when statements state positions."""
    for statement in statements:
        if "OpenPositions" in statement.sections:
            last = NEW_YORK.session_on_or_after(statement.to_date)
            bounds: Any = (last.start, last.end) * 2
            yield Coverage("positions", ("OpenPosition",), "complete", *bounds)


@contextmanager
def nights(
    path: Path,
    account: FlexAccount,
    as_of: date,
    *evenings: Sequence[Statement],
    bots: Sequence[Bot] = (),
) -> Iterator[Warehouse]:
    """Run a night for each sequence of statements that came, and give the warehouse they leave."""
    span = window(NEW_YORK, account.since, as_of)
    now = datetime.combine(as_of + timedelta(days=2), time(12), UTC)
    with Warehouse(path) as warehouse:
        for number, statements in enumerate(evenings):
            with warehouse.transaction():
                items: list[Record | Coverage] = [*records(statements), *stated(statements)]
                warehouse.land(f"run{number}", "ibkr-flex", account.id, items, now)
                configure(warehouse, [(account, span, NEW_YORK)], bots, now)
                keep_claims(warehouse, Plan(now.date(), (), ()), {}, {})
                build(warehouse, f"run{number}", {account.id: account.lots})
        yield warehouse
