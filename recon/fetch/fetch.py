"""Fetching: all accounts and bot databases concurrently. A failure stays with its source."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from connectors.protocol import Connector, Remembering
from recon.bot_databases.run_mapping import unpack
from recon.core.coverage import reach, unbroken
from recon.core.records import Coverage, Record, Table, Window
from recon.errors import BotDatabaseError, EvidenceError, afterwards_async
from recon.fetch.boundary import contained, reason
from recon.fetch.plan import AccountPlan, BotPlan, Plan
from recon.system.outside_evidence import without_secrets
from recon.system.progress import Progress
from recon.warehouse.database import Warehouse

OVERLAP = timedelta(days=7)
"""How far back a run reads again: earlier runs may have missed late or corrected evidence."""
WHOLE_AGAIN = timedelta(days=7)
"""The age of the last whole read of a bot database beyond which it is read whole again."""
TICK = 500
"""Rows between two progress updates on a terminal."""


@dataclass(slots=True)
class FetchResult:
    """The items that one source yielded, in order, and the error that ended it early, if any."""

    venue: str
    account: str
    items: list[Record | Table | Coverage] = field(default_factory=list)
    error: str = ""

    @property
    def source(self) -> str:
        """The source's name in notes and in the log."""
        return f"{self.venue} {self.account}"


@dataclass(frozen=True, slots=True)
class DatabaseRequest:
    """The window to read of a bot database, and `known`: the known schema of each table."""

    window: Window
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)


async def fetch_all(
    plan: Plan,
    wanted: Callable[[AccountPlan], Window],
    requested: Callable[[BotPlan], DatabaseRequest],
    progress: Progress,
) -> list[FetchResult]:
    """Fetch every account and every bot database, each over its requested window.

    `wanted` and `requested` return what is left to read of a source. Both are called inside the
    boundary of that source.
    """

    async def account(one: AccountPlan, haul: FetchResult) -> None:
        await _fetch(one.source, wanted(one), progress, haul)

    async def bot(one: BotPlan, haul: FetchResult) -> None:
        await _fetch_database(one, requested(one), plan.of(one.bot.account).window, progress, haul)

    jobs = [_contained(one.source, partial(account, one), progress) for one in plan.accounts]
    jobs += [_contained(one.source, partial(bot, one), progress) for one in plan.bots]
    return list(await asyncio.gather(*jobs))


async def _contained(
    source: Connector, fetch: Callable[[FetchResult], Awaitable[None]], progress: Progress
) -> FetchResult:
    """Return the items that `fetch` got from a source, with the error that ended it early."""
    haul = FetchResult(source.venue, source.account)
    try:
        with contained(haul.source):
            try:
                await fetch(haul)
            finally:
                items, haul.items = haul.items, []
                haul.items = without_secrets(items)
    except EvidenceError as error:
        haul.error = reason(error, haul.source)
        progress.note(f"{haul.source}: failed")  # the report has the reason
    return haul


async def _fetch_database(
    plan: BotPlan, wanted: DatabaseRequest, whole: Window, progress: Progress, haul: FetchResult
) -> None:
    """Fetch a bot database; read it whole where its tables differ from the known ones."""
    await _fetch(plan.source, wanted.window, progress, haul)
    if wanted.window.start > whole.start:
        schema, _ = unpack(haul.items)
        if {table: [name for name, _ in of] for table, of in schema.items()} != wanted.known:
            haul.items.clear()
            await _fetch(plan.source, whole, progress, haul)


def rows_to_fetch(
    warehouse: Warehouse, plan: AccountPlan, bot: BotPlan, now: datetime
) -> DatabaseRequest:
    """Return the part of a bot database that is left to read, as `window_to_fetch` for an account.

    It is the whole database where it has no watermarks, where the tables that the mapping reads now
    have not all been read whole, or where that was long ago: only a whole read finds deleted rows.
    """
    known = {
        row["id"]: [name for name, _ in json.loads(row["payload"])["columns"]]
        for row in warehouse.rows(
            "select id, payload::varchar as payload from raw.latest_state"
            " where venue = 'bot_database' and account = ? and kind = 'schema'"
            " and payload is not null",
            [bot.bot.id],
        )
    }
    try:
        tables = bot.mapping.watermarks(known).tables
    except BotDatabaseError:
        return DatabaseRequest(plan.window)
    reached = [
        reach(
            warehouse.served("bot_database", bot.bot.id, "bot_database", f"table:{table}"),
            plan.window.start,
        )
        for table in known
        if table.lower() in tables
    ]
    read = [instant for instant in reached if instant is not None]
    if not read or len(read) < len(reached):
        return DatabaseRequest(plan.window)
    if _last_whole(warehouse, bot, tables) < now - WHOLE_AGAIN:
        return DatabaseRequest(plan.window)
    return DatabaseRequest(_overlapping(plan, min(read)), known)


def _last_whole(warehouse: Warehouse, bot: BotPlan, tables: Collection[str]) -> datetime:
    """Return the last instant by which each of these tables had been read whole."""
    rows = warehouse.rows(
        """
        select kind, max(served_to) as read_at from raw.coverage
        where venue = 'bot_database' and account = $bot and is_snapshot and status = 'complete'
        group by kind
        """,
        {"bot": bot.bot.id},
    )
    read = [
        row["read_at"].replace(tzinfo=UTC)
        for row in rows
        if row["kind"].removeprefix("table:").lower() in tables
    ]
    return min(read, default=datetime.min.replace(tzinfo=UTC))


def window_to_fetch(warehouse: Warehouse, plan: AccountPlan) -> Window:
    """Return the rest of the account's window: it starts an overlap before the known evidence ends.

    For orders, only the last interval counts: the venue may no longer serve earlier gaps.
    """
    source, start = plan.source, plan.window.start
    known: list[datetime | None] = []
    for promise in source.promises:
        served = warehouse.served(source.venue, source.account, *promise[:2])
        if promise.is_for_attribution:
            stretch = unbroken(served)
            known.append(stretch and stretch.end)
        elif promise.is_of_the_past:
            known.append(reach(served, start))
    reached = [instant for instant in known if instant is not None]
    if len(reached) < len(known):
        return plan.window
    return _overlapping(plan, min(reached))


def skip_known_ids(warehouse: Warehouse, plan: AccountPlan) -> None:
    """Pass the ids of the landed candles to an account's source, so that it skips them."""
    if isinstance(plan.source, Remembering):
        rows = warehouse.rows(
            "select distinct id from raw.records where venue = ? and account = ?"
            " and kind = 'candle' and \"at\" >= ?",
            [plan.source.venue, plan.source.account, plan.window.start.replace(tzinfo=None)],
        )
        plan.source.remember(frozenset(row["id"] for row in rows))


def _overlapping(plan: AccountPlan, reached: datetime) -> Window:
    """Return the rest of a window that was read up to `reached`, with the overlap before it."""
    begin = max(plan.window.start, reached - OVERLAP)
    return Window(plan.days.session_of(begin), plan.window.last)


async def _fetch(source: Connector, wanted: Window, progress: Progress, haul: FetchResult) -> None:
    rows = 0
    items = source.fetch(wanted)
    async with afterwards_async(items.aclose):
        async for item in items:
            haul.items.append(item)
            if isinstance(item, Coverage):
                progress.note(f"{haul.source}: {_said(item)}")
            elif isinstance(item, Table):
                rows += item.batches.num_rows
                progress.count(haul.source, rows)
            else:
                rows += 1
                if rows % TICK == 0:
                    progress.count(haul.source, rows)
    progress.count(haul.source, rows)


def _said(statement: Coverage) -> str:
    """Return how the fetch of one kind of evidence ended. The report has the reason."""
    return f"{statement.evidence} {statement.status}, {statement.rows} rows"
