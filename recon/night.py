"""The nightly run, top to bottom: open, fetch, land, model, judge, page, report.

`run_night` reads like its description. Everything it needs is passed in: the configuration, the
clock, how patient to be, and what to tell of its progress.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from connectors.patience import Patience
from connectors.protocol import Connector
from recon.books import BooksTables, find_mapping, read_books, unpack
from recon.config import Account, Bot, Config
from recon.coverage import reach
from recon.document import DocumentBuilder, Fetched
from recon.domain import Coverage, Record, Window
from recon.errors import BooksError, EvidenceError, UsageError
from recon.judgement import Tolerance
from recon.ledger import Ledger
from recon.models import build, configure, store_books
from recon.paging.channels import check_channels, send
from recon.paging.page import write_page
from recon.progress import Progress, Silent
from recon.sessions import Calendar, calendar, last_ended, window
from recon.sources import Clock, account_source, books_source
from recon.state import locked_state, write_whole
from recon.warehouse import Warehouse

OVERLAP = timedelta(days=7)
"""How far back a night reads again what earlier nights have read: late and corrected evidence."""
MAX_AHEAD = timedelta(minutes=5)
"""How far a bot's clock may run ahead of this machine's."""
TICK = 500
"""Rows between two signs of life on a terminal."""


@dataclass(frozen=True, slots=True)
class Night:
    """What one run is asked for. `as_of` None is the last session that has ended."""

    config: Config
    as_of: date | None = None
    accounts: tuple[str, ...] = ()
    is_fetching: bool = True
    is_paging: bool = True
    now: Clock = lambda: datetime.now(UTC)
    patience: Patience | None = None
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True, slots=True)
class _Plan:
    """One account of this run: its settings, its sessions, its window and its source."""

    account: Account
    days: Calendar
    window: Window
    source: Connector


@dataclass(slots=True)
class _Haul:
    """What one source gave: its items in order, and why it gave no more."""

    venue: str
    account: str
    items: list[Record | Coverage] = field(default_factory=list)
    error: str = ""


def run_night(night: Night) -> dict[str, Any]:
    """Do one night and return its document. Raises ConfigError, UsageError, LockedError."""
    config = night.config
    check_channels([channel.url.get_secret_value() for channel in config.paging.channels])
    as_of = night.as_of or _default_as_of(night)
    plans = _plans(night, as_of)
    bots = [bot for bot in config.bots if any(bot.account == p.account.id for p in plans)]
    mappings = {bot.id: find_mapping(bot.mapping, config.folder) for bot in bots}
    sources = [
        (
            books_source(bot, config, night.now, mappings[bot.id].reads, config.state / "scratch"),
            bot,
        )
        for bot in bots
    ]
    run = uuid.uuid4().hex[:16]

    with (
        locked_state(config.state) as state,
        Ledger(state / "ledger.sqlite") as ledger,
        Warehouse(state / "warehouse.duckdb") as warehouse,
    ):
        started = night.now()
        ledger.begin_run(run, as_of, started)
        wanted = {
            plan.account.id: _unread(warehouse, plan)
            if ledger.was_proven(plan.account.id)
            else plan.window
            for plan in plans
        }
        hauls = asyncio.run(_fetch(night, plans, sources, wanted)) if night.is_fetching else []
        with warehouse.transaction():
            night.progress.note("landing the evidence, building the numbers")
            for haul in hauls:
                warehouse.land(run, haul.venue, haul.account, haul.items, started)
            configure(warehouse, [(p.account, p.window, p.days) for p in plans], bots, night.now())
            ends = {plan.account.id: plan.window.end for plan in plans}
            books, unreadable = _read_books(warehouse, bots, mappings, hauls, ends)
            store_books(warehouse, books)
            build(warehouse, {plan.account.id: plan.account.lots for plan in plans})
            document, found = DocumentBuilder(
                warehouse,
                run,
                Tolerance(config.recon.tolerance_pct, config.recon.tolerance_abs),
                [(plan.account, plan.window, plan.source.promises) for plan in plans],
                bots,
                _fetched(plans, hauls, was_asked=night.is_fetching),
                unreadable,
            ).build(as_of)
        judged = [
            (bot["account"], bot["bot"]) for bot in document["bots"] if bot["status"] != "unproven"
        ]
        document["breaks"] = _breaks(ledger.see_breaks(as_of, judged, found), as_of, plans, bots)
        if night.is_paging:
            document["pages"] = _page(night, ledger, run, document)
        ledger.end_run(run, night.now(), document)
        name = ".".join([str(as_of), *sorted(night.accounts)])  # a part is no session's report
        write_whole(state / "reports" / f"{name}.json", json.dumps(document, indent=1) + "\n")
    return document


def _default_as_of(night: Night) -> date:
    """Return the latest date by which a session of every account asked for has ended.

    After midnight UTC New York's trade date is still open: then it is the day before.
    """
    calendars = [calendar(account.calendar) for account in _chosen(night)]
    ended = {last_ended(days, night.now()).date for days in calendars}
    return max(
        day for day in ended if all(days.session(day).end <= night.now() for days in calendars)
    )


def _chosen(night: Night) -> list[Account]:
    known = {account.id for account in night.config.accounts}
    if strange := [name for name in night.accounts if name not in known]:
        raise UsageError(
            f"--account {strange[0]}: there is no such account in {night.config.path}: "
            f"use one of {', '.join(sorted(known))}"
        )
    return [a for a in night.config.accounts if not night.accounts or a.id in night.accounts]


def _plans(night: Night, as_of: date) -> list[_Plan]:
    plans = []
    for account in _chosen(night):
        days = calendar(account.calendar)
        session = days.session(as_of)
        if session.end > night.now():
            raise UsageError(
                f"--as-of {as_of}: the session of {account.id} ends {session.end:%Y-%m-%d %H:%M} "
                "UTC, and has not ended yet: name an earlier one"
            )
        source = account_source(account, night.config, night.now, night.patience)
        plans.append(_Plan(account, days, window(days, account.since, as_of), source))
    return plans


async def _fetch(
    night: Night,
    plans: Sequence[_Plan],
    books: Sequence[tuple[Connector, Bot]],
    wanted: Mapping[str, Window],
) -> list[_Haul]:
    """Fetch every account and every bot's books side by side; a failure stays with its source."""
    jobs = [_haul(plan.source, wanted[plan.account.id], night.progress) for plan in plans]
    jobs += [_haul(source, wanted[bot.account], night.progress) for source, bot in books]
    return list(await asyncio.gather(*jobs))


async def _haul(source: Connector, wanted: Window, progress: Progress) -> _Haul:
    haul = _Haul(source.venue, source.account)
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


def _unread(warehouse: Warehouse, plan: _Plan) -> Window:
    """Return what is left of the window to read: from an overlap before what is known already.

    Only after a night that was proven: what did not close is read again whole.
    """
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


def _read_books(
    warehouse: Warehouse,
    bots: Sequence[Bot],
    mappings: Mapping[str, Any],
    hauls: Sequence[_Haul],
    ends: Mapping[str, datetime],
) -> tuple[dict[str, BooksTables], dict[str, str]]:
    """Run every bot's mapping over its latest snapshot; return what is readable, and why not."""
    books: dict[str, BooksTables] = {}
    unreadable = {
        haul.account: haul.error for haul in hauls if haul.venue == "books" and haul.error
    }
    for bot in bots:
        if bot.id in unreadable:
            continue
        records = [
            Record(row["kind"], row["id"], str(row["payload"]))
            for row in warehouse.rows(
                "select kind, id, payload from raw.current where venue = 'books' and account = ?",
                [bot.id],
            )
        ]
        try:
            read_at = _last_read(warehouse, bot, ends[bot.account])
            tables = read_books(mappings[bot.id], *unpack(records))
            if problems := [one for one in tables.problems if one.query == "trades"]:
                raise BooksError(
                    f"the books of {bot.id}: {len(problems)} trades cannot be taken, the "
                    f"first: {problems[0].key}: {problems[0].reason}"
                )
            _check_past(tables, bot, read_at)
            books[bot.id] = tables
        except BooksError as error:
            unreadable[bot.id] = str(error)
    return books, unreadable


def _last_read(warehouse: Warehouse, bot: Bot, end: datetime) -> datetime:
    """Return when the books were last read. Before the session ended they cannot know all of it."""
    read = max((i.end for i in warehouse.served("books", bot.id, "books", "schema")), default=None)
    if read is None:
        raise BooksError(f"the books of {bot.id} were never read: run without --no-fetch")
    if read < end:
        raise BooksError(
            f"the books of {bot.id} were last read at {read:%Y-%m-%d %H:%M} UTC, before the "
            "session ended: run without --no-fetch"
        )
    return read


def _check_past(tables: BooksTables, bot: Bot, read_at: datetime) -> None:
    """Refuse trades that closed after they were read: their times are not UTC, or not times."""
    latest = max((at for at in tables.trades["closed_at"].to_pylist() if at), default=None)
    if latest is not None and latest.replace(tzinfo=UTC) > read_at + MAX_AHEAD:
        raise BooksError(
            f"the books of {bot.id} have a trade that closed at {latest} UTC, after they were "
            "read: give closed_at in UTC"
        )


def _fetched(
    plans: Sequence[_Plan], hauls: Sequence[_Haul], *, was_asked: bool
) -> dict[str, Fetched]:
    errors = {haul.account: haul.error for haul in hauls if haul.venue != "books"}
    return {
        plan.account.id: Fetched(
            is_reached=not errors.get(plan.account.id),
            was_asked=was_asked,
            reason=errors.get(plan.account.id, ""),
        )
        for plan in plans
    }


def _breaks(
    rows: Sequence[Mapping[str, str]], as_of: date, plans: Sequence[_Plan], bots: Sequence[Bot]
) -> list[dict[str, Any]]:
    """Return the open breaks as the document shows them, their age in sessions since the first."""
    days = {plan.account.id: plan.days for plan in plans}
    ours = {bot.id for bot in bots}
    return [
        {
            "break": row["break"],
            "bot": row["bot"],
            "kind": row["kind"],
            "amount": row["amount"],
            "first_seen": row["first_seen"],
            "age_sessions": _sessions_between(
                days[row["account"]], date.fromisoformat(row["first_seen"]), as_of
            ),
            "status": row["status"],
        }
        for row in rows
        if row["bot"] in ours and row["account"] in days
    ]


def _sessions_between(days: Calendar, first: date, last: date) -> int:
    count = 0
    session = days.session(last)
    while session.date > first:
        count += 1
        session = days.session(session.date - timedelta(days=1))
    return count


def _page(
    night: Night, ledger: Ledger, run: str, document: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Send the run's page, if there is one to send; return what became of it.

    It is in the ledger before it leaves, and marked after. A channel that fails is said so on
    stderr, in the document and in the page's status.
    """
    written = write_page(document, str(night.config.path))
    if written is None:
        return []
    title, body = written
    urls = [channel.url.get_secret_value() for channel in night.config.paging.channels]
    page: dict[str, Any] = {
        "page": f"{document['as_of']}-{run}",
        "title": title,
        "body": body,
        "status": "pending",
        "channels": [],
    }
    ledger.record_page(page, run, night.now())
    page["channels"] = send(urls, title, body)
    page["status"] = _page_status(page["channels"], night.progress.note)
    ledger.record_page(page, run, night.now())
    return [{key: page[key] for key in ("page", "status", "title", "channels")}]


def _page_status(channels: Sequence[Mapping[str, Any]], note: Callable[[str], None]) -> str:
    failed = [channel for channel in channels if channel["status"] != "delivered"]
    for channel in failed:
        note(f"PAGE NOT DELIVERED through {channel['channel']}: {channel['reason']}")
    if not channels:
        note("PAGE NOT DELIVERED: no channel is configured: add [paging] channels")
        return "failed"
    if not failed:
        return "delivered"
    return "failed" if len(failed) == len(channels) else "partial"
