"""Fetching: every account and every bot's books side by side; a failure stays with its source."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta

from connectors.protocol import Connector
from recon.coverage import reach
from recon.domain import Coverage, Record, Window
from recon.errors import EvidenceError
from recon.plan import AccountPlan, Plan
from recon.progress import Progress
from recon.warehouse import Warehouse

OVERLAP = timedelta(days=7)
"""How far back a night reads again what earlier nights have read: late and corrected evidence."""
TICK = 500
"""Rows between two signs of life on a terminal."""


@dataclass(slots=True)
class Haul:
    """What one source gave: its items in order, and why it gave no more."""

    venue: str
    account: str
    items: list[Record | Coverage] = field(default_factory=list)
    error: str = ""


async def fetch_all(plan: Plan, wanted: Mapping[str, Window], progress: Progress) -> list[Haul]:
    """Fetch what each account's window in `wanted` asks for, and every bot's books."""
    jobs = [_fetch(one.source, wanted[one.account.id], progress) for one in plan.accounts]
    jobs += [_fetch(one.source, wanted[one.bot.account], progress) for one in plan.bots]
    return list(await asyncio.gather(*jobs))


def unread(warehouse: Warehouse, plan: AccountPlan) -> Window:
    """Return what is left of the window to read: from an overlap before what is known already."""
    source, start = plan.source, plan.window.start
    known = [
        reach(warehouse.served(source.venue, source.account, *promise[:2]), start)
        for promise in source.promises
        if not promise.is_snapshot
    ]
    reached = [instant for instant in known if instant is not None]
    if len(reached) < len(known):
        return plan.window
    begin = max(start, min(reached) - OVERLAP)
    return Window(plan.days.session_of(begin), plan.window.last)


async def _fetch(source: Connector, wanted: Window, progress: Progress) -> Haul:
    haul = Haul(source.venue, source.account)
    name = f"{source.venue} {source.account}"
    rows = 0
    try:
        async with aclosing(source.fetch(wanted)) as items:
            async for item in items:
                haul.items.append(item)
                if isinstance(item, Coverage):
                    progress.note(f"{name}: {_said(item)}")
                else:
                    rows += 1
                    if rows % TICK == 0:
                        progress.count(name, rows)
    except EvidenceError as error:
        haul.error = str(error)
        progress.note(f"{name}: {error}")
    progress.count(name, rows)
    return haul


def _said(statement: Coverage) -> str:
    why = f": {statement.reason}" if statement.reason else ""
    return f"{statement.evidence} {statement.status}, {statement.rows} rows{why}"
