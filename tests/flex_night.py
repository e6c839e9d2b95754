"""One IBKR account's statements through a night's tables: landed, built, and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from connectors.flex_statement import Statement
from connectors.ibkr_flex import records
from recon.claims import keep_claims
from recon.config import FlexAccount
from recon.domain import Coverage, Record
from recon.lots import Method
from recon.models import build, configure
from recon.plan import Plan
from recon.sessions import calendar, window
from recon.warehouse import Warehouse

NEW_YORK = calendar("XNYS")


def flex_account(since: date, currency: str = "USD", lots: Method = "fifo") -> FlexAccount:
    return FlexAccount.model_construct(
        id="ib", venue="ibkr-flex", currency=currency, lots=lots, calendar="XNYS", since=since
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
    path: Path, account: FlexAccount, as_of: date, *evenings: Sequence[Statement]
) -> Iterator[Warehouse]:
    """Run a night for each sequence of statements that came, and give the warehouse they leave."""
    span = window(NEW_YORK, account.since, as_of)
    now = datetime.combine(as_of + timedelta(days=2), time(12), UTC)
    with Warehouse(path) as warehouse:
        for number, statements in enumerate(evenings):
            with warehouse.transaction():
                items: list[Record | Coverage] = [*records(statements), *stated(statements)]
                warehouse.land(f"run{number}", "ibkr-flex", account.id, items, now)
                configure(warehouse, [(account, span, NEW_YORK)], [], now)
                keep_claims(warehouse, Plan(now.date(), (), ()), {}, {})
                build(warehouse, f"run{number}", {account.id: account.lots})
        yield warehouse
