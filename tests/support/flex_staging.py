"""Land Flex records and build their staging, and nothing else's, in a warehouse of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from connectors.ibkr_flex.connector import IbkrFlexFiles
from recon.breaks.instrument_names import keep_names
from recon.core.calendars import Calendar, calendar, window
from recon.core.records import Coverage, Record, Window
from recon.run.pipeline import EVERYTHING
from recon.warehouse.database import Again, Warehouse, build_order

AS_OF = datetime(2026, 4, 10, 12, tzinfo=UTC)
ACCOUNT = "ib"
NEW_YORK: Calendar = calendar("XNYS")
NOTHING = pa.schema(
    [(name, pa.string()) for name in ("account", "instrument", "bot", "confirmed_by")]
).empty_table()
"""What the configuration says of owners, of opening lots and of TWS."""


def span(since: date, as_of: date | None = None) -> Window:
    return window(NEW_YORK, since, as_of or AS_OF.date())


def fetched(
    paths: Sequence[Path], since: date, *, account: str = ACCOUNT, **settings: Any
) -> list[Record | Coverage]:
    """Return all that the files give."""

    async def collect() -> list[Record | Coverage]:
        patterns = [str(path) for path in paths]
        source = IbkrFlexFiles(account, patterns=patterns, calendar=NEW_YORK, **settings)
        return [item async for item in source.fetch(span(since))]

    return asyncio.run(collect())


def land(
    warehouse: Warehouse,
    items: Iterable[Record | Coverage],
    run: str = "r1",
    account: str = ACCOUNT,
) -> None:
    with warehouse.transaction():
        warehouse.land(run, "ibkr-flex", account, items, AS_OF)


def stage(
    warehouse: Warehouse, since: date, currency: str = "USD", accounts: Sequence[str] = (ACCOUNT,)
) -> list[dict[str, Any]]:
    """Build the Flex staging, and return what its audit finds: nothing, or there is a defect."""
    whole = span(since)
    with warehouse.transaction():
        rows = [
            {
                "account": account,
                "venue": "ibkr-flex",
                "currency": currency,
                "lots": "fifo",
                "is_by_trade_date": True,
                "first_date": whole.first.date,
                "last_date": whole.last.date,
            }
            for account in accounts
        ]
        warehouse.store("config", "accounts", pa.Table.from_pylist(rows))
        warehouse.store("config", "sessions", _sessions(whole, accounts))
        for name in ("tws", "owners", "opening"):
            warehouse.store("config", name, NOTHING)
        for row in warehouse.rows("select distinct run from raw.records"):
            keep_names(warehouse, row["run"])
        warehouse.select("", [Again("ibkr-flex", account, EVERYTHING) for account in accounts])
        texts = {
            name: text for name, text in warehouse.queries("staging") if name.startswith("flex_")
        }
        warehouse._db.execute("create schema if not exists staging")
        for name in build_order("staging", texts):
            warehouse._execute(f"create or replace table staging.{name} as {texts[name]}")
    return warehouse.rows(dict(warehouse.queries("audits"))["flex_conservation"])


def _sessions(whole: Window, accounts: Sequence[str]) -> pa.Table:
    rows, session = [], whole.first
    while session.start < AS_OF:
        rows += [
            {
                "account": account,
                "session_date": session.date,
                "start_at": session.start.replace(tzinfo=None),
                "end_at": session.end.replace(tzinfo=None),
            }
            for account in accounts
        ]
        session = NEW_YORK.session_on_or_after(session.date + timedelta(days=1))
    return pa.Table.from_pylist(rows)
