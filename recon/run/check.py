"""`recon check`: try everything that a run and the watch need; name the remedy of each failure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from connectors.bot_databases.snapshot import Unknown
from connectors.protocol import Connector, Forgetful, Lister
from recon.bot_databases.mapping_queries import ANSWERS
from recon.bot_databases.mappings import BooksMapping
from recon.bot_databases.run_mapping import (
    MappingAnswers,
    MappingLimits,
    Problem,
    read_books,
    unpack,
)
from recon.breaks.claims import named_by_venue
from recon.config.settings import Account, Bot, Config
from recon.control.ledger import CONTROL, Ledger
from recon.core.calendars import TradeDates, calendar, last_ended
from recon.core.coverage import reach
from recon.core.liveness import NoBeat, judge
from recon.core.records import CheckItem, Listing, Window
from recon.errors import ReconError
from recon.fetch.boundary import contained
from recon.fetch.connectors_for import account_source, books_source
from recon.fetch.heartbeats import Look, read_beats, rhythm
from recon.fetch.plan import assert_since, mapping_limits, mapping_of
from recon.outside_text import LONG, SHORTEST, STRONG, weak_secrets
from recon.paging.acknowledgements import check_replies
from recon.paging.channels import Recipient, configured, recipients
from recon.report.terminal import window_text
from recon.run.backup import backups, is_sound
from recon.run.check_names import check_currency, check_names, evident_names, names_in
from recon.run.check_permissions import check_permissions
from recon.run.check_state import check_folder
from recon.run.dead_man_switch import is_proxied, unreachable
from recon.run.read_published import reading
from recon.run.schedule import AHEAD, schedule
from recon.warehouse.commit import WAREHOUSE


def check_everything(config: Config) -> list[CheckItem]:
    """Return the checks of configuration, state, accounts, bots, channels, ping and schedule.

    They leave nothing in the state folder, send no page and no ping, and leave replies unread.
    """
    items = [CheckItem("configuration", f"{config.path} is well-formed", is_ok=True)]
    items += [CheckItem("order tags", one, is_ok=True) for one in config.warnings]
    items += _check_secrets()
    items += check_folder(config.state)
    is_usable = all(item.is_ok for item in items)
    items += check_permissions(config)
    of_accounts, listings = asyncio.run(_check_accounts(config))
    items += of_accounts
    items += _check_since(config)
    if is_usable:
        items += [_check_evidence(account, config) for account in config.accounts]
        items += _check_state(config)
    claimed: dict[str, frozenset[str]] = {}
    for bot in config.bots:
        item, names = _check_bot(config, bot)
        items.append(item)
        if names is not None:
            claimed[bot.id] = names
    evident = evident_names(config.state) if is_usable else {}
    items += _check_names(config, listings, claimed, evident)
    items += _check_heartbeats(config)
    channels = _check_channels(config)
    items += channels
    if all(each.is_ok for each in channels):
        items += check_replies(recipients(config.paging))
    items.append(_check_ping(config))
    return items + _check_calendars(config) + _check_schedule(config)


FAR = timedelta(days=60)
"""A calendar that ends sooner than this gets a note."""

PING_REMEDY = "correct the address, or let this machine reach its host"


def _check_secrets() -> list[CheckItem]:
    """Name the weak secrets, which are not replaced everywhere."""
    weak = [
        f"{name} has {length} characters: "
        + (
            "if a venue repeats it, recon shows and stores it"
            if length < SHORTEST
            else "recon replaces it in errors and logs, and stores it if evidence repeats it"
        )
        for name, length in weak_secrets()
    ]
    if not weak:
        return []
    detail = "some could be an ordinary word or number"
    remedy = f"use {LONG} characters or more, or {STRONG} of several kinds"
    return [CheckItem("secrets", detail, remedy, is_ok=True, notes=tuple(weak))]


async def _check_accounts(config: Config) -> tuple[list[CheckItem], dict[str, Listing]]:
    """Return the checks of each account, and the listing of each venue that has one."""
    answers = await asyncio.gather(
        *(_check_account(account, config) for account in config.accounts)
    )
    listings = {
        account.id: listing
        for account, (_, listing) in zip(config.accounts, answers, strict=True)
        if listing is not None
    }
    return [item for items, _ in answers for item in items], listings


async def _check_account(
    account: Account, config: Config
) -> tuple[list[CheckItem], Listing | None]:
    subject = f"account {account.id}"
    try:
        with contained(subject):
            source = account_source(account, config, _now)
            items = await source.check()
            if not isinstance(source, Lister) or not all(item.is_ok for item in items):
                return items, None
    except ReconError as error:
        return [CheckItem(subject, str(error))], None
    subject = f"instruments at {account.id}"
    try:
        with contained(subject):
            listing = await source.listing()
    except ReconError as error:
        remedy = "a run needs the list of instruments, too: try again later"
        return [*items, CheckItem(subject, str(error), remedy)], None
    return [*items, check_currency(account, listing)], listing


def _check_since(config: Config) -> list[CheckItem]:
    """Check that evidence reaches back to each account's `since`, and that a session has ended."""
    items = [_since(account, config) for account in config.accounts]
    ends = [_first_end(account) for account in config.accounts if account.since <= _now().date()]
    begins = min((end for end in ends if end is not None), default=None)
    if begins is not None and begins > _now():
        remedy = "run after that time, or write an earlier since"
        detail = f"no session of any account has ended yet: the first ends {begins:%F %H:%M} UTC"
        items.append(CheckItem("first session", detail, remedy))
    return items


def _first_end(account: Account) -> datetime | None:
    try:
        return calendar(account.calendar).session_on_or_after(account.since).end
    except ReconError:
        return None


def _since(account: Account, config: Config) -> CheckItem:
    """Check that the venue, or stored evidence, reaches back to `since`."""
    subject = f"since of {account.id}"
    try:
        assert_since(account, config.path, _now)
    except ReconError as error:
        return CheckItem(subject, str(error))
    well = CheckItem(subject, f"{account.since}", is_ok=True)
    try:
        source = account_source(account, config, _now)
    except ReconError:  # the check of the account names it
        return well
    start = calendar(account.calendar).session_on_or_after(account.since).start
    if not isinstance(source, Forgetful) or start >= (served := source.serves_from()):
        return well
    has_stored = _is_stored(source, config.state, start, served)
    first = (served + timedelta(days=1)).date()
    detail = (
        f"accounts.{account.id}.since: {account.venue} does not serve {account.since} any more, "
        f"and no earlier run has stored it: the first possible date is {first}"
    )
    if has_stored is None:
        note = "a run holds the warehouse: check again when it ends, to see whether this is stored"
        return CheckItem(subject, f"{account.since}", is_ok=True, notes=(note,))
    remedy = f"write since = {first}, or restore the state folder of earlier runs"
    return well if has_stored else CheckItem(subject, detail, remedy)


def _is_stored(source: Connector, state: Path, start: datetime, served: datetime) -> bool | None:
    """Return whether stored evidence reaches from `start` to `served`; None if unknown."""
    if not (state / WAREHOUSE).exists():
        return False
    try:
        with reading(state, patience_s=0.0) as (warehouse, _):
            reached = [
                reach(warehouse.served(source.venue, source.account, *promise[:2]), start)
                for promise in source.promises
                if promise.is_of_the_past
            ]
    except (duckdb.Error, ReconError):
        return None
    return all(each is not None and each >= served for each in reached)


def _check_evidence(account: Account, config: Config) -> CheckItem:
    """Show the interval over which the account's evidence is complete, from its latest report."""
    subject = f"evidence of {account.id}"
    for path in sorted((config.state / "reports").glob("*.json"), reverse=True):
        try:
            accounts = json.loads(path.read_text(encoding="utf-8"))["accounts"]
        except (OSError, ValueError, KeyError, TypeError):
            remedy = "run  recon run --no-fetch --no-page  with its date as --as-of, or delete it"
            return CheckItem(subject, f"{path} is damaged", remedy)
        for entry in accounts:
            if entry["account"] == account.id and "proven_window" in entry:
                detail = window_text(entry["proven_window"])
                return CheckItem(subject, f"{detail}, {entry['status']} ({path.name})", is_ok=True)
    return CheckItem(subject, "no run has fetched any yet", is_ok=True)


def _check_state(config: Config) -> list[CheckItem]:
    """Check the control database and the backups, which can be read while a run holds the state."""
    path = config.state / CONTROL
    if not path.exists() and not backups(config.state):
        return []
    if not is_sound(path):
        return [CheckItem("state", f"{path} is missing or damaged", remedy="run  recon restore")]
    with Ledger(path) as ledger:
        published = max(ledger.published().values(), default=None)
        missed = ledger.missed()
    there = backups(config.state)
    last = date.fromisoformat(there[0]["as_of"]) if there else None
    detail = f"published as of {published}, {len(there)} backups, the last as of {last}"
    notes = (f"missed sessions: {', '.join(map(str, missed))}: the next nightly run catches up",)
    is_ok = published is None or last is not None
    remedy = "" if is_ok else "run  recon run  without --as-of: the nightly run makes a backup"
    return [CheckItem("state", detail, remedy, is_ok, notes if missed else ())]


def _check_bot(config: Config, bot: Bot) -> tuple[CheckItem, frozenset[str] | None]:
    """Read the bot's database as a run would; return the check, and the instruments in it.

    The instruments are None if the database cannot be read.
    """
    subject = f"bot {bot.id}"
    account = next(account for account in config.accounts if account.id == bot.account)
    try:
        with contained(subject):
            mapping = mapping_of(bot, config)
            refusal = Unknown(*mapping.refusal)
            source = books_source(bot, config, _now, mapping.reads, unknown=refusal)
            tables = asyncio.run(_read(source, mapping, mapping_limits(config)))
            names = names_in(named_by_venue(tables, account.venue), account.since)
            return _database_item(subject, tables), names
    except ReconError as error:
        return CheckItem(subject, str(error)), None


async def _read(source: Connector, mapping: BooksMapping, limits: MappingLimits) -> MappingAnswers:
    items = [item async for item in source.fetch(today())]
    return read_books(mapping, *unpack(items), limits=limits)


def _check_names(
    config: Config,
    listings: Mapping[str, Listing],
    claimed: Mapping[str, frozenset[str]],
    evident: Mapping[str, frozenset[str]] | None,
) -> list[CheckItem]:
    subject = "instruments of the bots"
    try:
        with contained(subject):
            return check_names(config, listings, claimed, evident)
    except ReconError as error:
        return [CheckItem(subject, str(error))]


def _database_item(subject: str, tables: MappingAnswers) -> CheckItem:
    if tables.problems:
        return CheckItem(
            subject,
            f"{len(tables.problems)} rows cannot be used: {_counted(tables.problems)}",
            remedy="correct the mapping, or the rows",
            notes=_lacking(tables),
        )
    return CheckItem(
        subject,
        f"{tables.trades.num_rows} closed trades, read by {tables.variant.name}",
        is_ok=True,
        notes=_lacking(tables),
    )


def _counted(problems: Sequence[Problem]) -> str:
    """Return each reason with its number of rows and the key of the first, by query."""
    kinds: dict[tuple[str, str], list[str | None]] = {}
    for one in problems:
        kinds.setdefault((one.query, one.reason), []).append(one.key)
    return "; ".join(
        f"{reason} in {len(keys)} of {query}.sql (the first: {keys[0]})"
        for (query, reason), keys in kinds.items()
    )


def _lacking(tables: MappingAnswers) -> tuple[str, ...]:
    """Return what a mapping leaves out: missing queries, queries without rows, null columns."""
    notes = []
    for query in ANSWERS:
        rows = getattr(tables, query)
        if rows is None:
            notes.append(f"the mapping has no {query}.sql: the bot's {query} are not compared")
        elif not rows.num_rows:
            notes.append(f"{query}.sql returns no row")
        elif unknown := [name for name in rows.column_names if rows[name].null_count == len(rows)]:
            notes.append(f"{query}.sql returns only null for {', '.join(unknown)}")
    return tuple(notes)


def _check_heartbeats(config: Config) -> list[CheckItem]:
    """Judge each bot's heartbeat as the watch would, as far as a single look can."""
    bots = {bot.id: bot for bot in config.bots}
    looks = read_beats(config.bots, config.folder, _now)
    return [_check_heartbeat(config, bots[name], look) for name, look in looks.items()]


def _check_heartbeat(config: Config, bot: Bot, look: Look) -> CheckItem:
    subject = f"heartbeat of {bot.id}"
    if isinstance(look.reading, NoBeat):
        remedy = f"start the bot, or correct bots.{bot.id}.heartbeat"
        return CheckItem(subject, look.reading.why, remedy=remedy)
    try:
        with contained(subject):
            _, trouble = judge(look.reading, None, rhythm(config, bot, look.at), look.at)
    except ReconError as error:
        return CheckItem(subject, str(error))
    if trouble is not None:
        return CheckItem(subject, f"{trouble.kind}: {trouble.why}", remedy="look at the bot")
    beat, bar = look.reading, look.reading.last_bar_at
    detail = f"seq {beat.seq}, {(look.at - beat.at).total_seconds():.0f} s old"
    bars = f"; its last bar is from {bar:%Y-%m-%d %H:%M} UTC" if bar else "; it names no bar"
    return CheckItem(subject, detail + bars, is_ok=True)


def _check_ping(config: Config) -> CheckItem:
    """Connect to the dead-man's switch's host, and send no request: any could count as a ping."""
    if config.recon.ping is None:
        note = "nobody notices if this machine is off: see docs/on-call/deadlines.md"
        return CheckItem("ping", "no address is configured", is_ok=True, notes=(note,))
    url = config.recon.ping.get_secret_value()
    untried = "no ping was sent: the next nightly run shows whether the address knows this check"
    if is_proxied(url):
        detail = "its address is well-formed; its proxy was not tried"
        return CheckItem("ping", detail, is_ok=True, notes=(untried,))
    if problem := unreachable(url):
        return CheckItem("ping", f"its host cannot be reached: {problem}", remedy=PING_REMEDY)
    return CheckItem("ping", "its host can be reached", is_ok=True, notes=(untried,))


def _check_calendars(config: Config) -> list[CheckItem]:
    names = {account.calendar for account in config.accounts if account.calendar}
    return [_check_calendar(name) for name in sorted(names)]


def _check_calendar(name: str) -> CheckItem:
    """Show when a market opens next, and until when its holidays are known."""
    subject, now = f"calendar {name}", _now()
    try:
        days = TradeDates(name, now.year)
    except ReconError as error:
        return CheckItem(subject, str(error))
    known = f"its sessions are known until {days.known_until}"
    opens = days.opens(now, now + AHEAD)
    if not opens:
        return CheckItem(subject, f"no open ahead: {known}", remedy="update exchange-calendars")
    is_near = days.known_until < (now + FAR).date()
    notes = ("update exchange-calendars before that day",) if is_near else ()
    detail = f"opens next {opens[0]:%a %Y-%m-%d %H:%M} UTC; {known}"
    return CheckItem(subject, detail, is_ok=True, notes=notes)


def _check_schedule(config: Config) -> list[CheckItem]:
    """Check whether one run a day can be in time for every open; a warning is no failure."""
    try:
        planned = schedule(config, _now())
    except ReconError as error:
        return [CheckItem("schedule", str(error))]
    warnings = planned.warnings()
    kept = "too late for some opens" if warnings else "in time for every open of the year ahead"
    detail = f"a run at {planned.daily:%H:%M} UTC is {kept} (recon schedule)"
    return [CheckItem("schedule", detail, is_ok=True, notes=tuple(warnings))]


def _check_channels(config: Config) -> list[CheckItem]:
    if not config.paging.channels:
        note = "nobody will be paged: add [paging] channels"
        return [CheckItem("paging", "no channel is configured", is_ok=True, notes=(note,))]
    items = []
    for place, found in configured(config.paging):
        if isinstance(found, Recipient):
            kind = "escalation" if found.is_escalation else "channel"
            items.append(CheckItem(f"{kind} {found.name}", "its URL is well-formed", is_ok=True))
        else:
            items.append(CheckItem(place, str(found)))
    return items


def today() -> Window:
    """Return the window of the last session that has ended."""
    session = last_ended(calendar(None), _now())
    return Window(session, session)


def _now() -> datetime:
    return datetime.now(UTC)
