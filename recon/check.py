"""`recon check`: try everything that a night needs, and say what to do about each failure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from connectors.protocol import Connector
from recon.books import ANSWERS, BooksTables, Problem, read_books, unpack
from recon.config import Account, Bot, Config
from recon.domain import CheckItem, Window
from recon.errors import ReconError
from recon.mappings import BooksMapping, find_mapping
from recon.paging.channels import outlets
from recon.paging.listen import check_answers
from recon.paging.wire import understood
from recon.sessions import calendar, last_ended
from recon.sources import account_source, books_source
from recon.terminal import window_text


def check_everything(config: Config) -> list[CheckItem]:
    """Return what was tried: the configuration, each account, each bot's books, each channel, and
    whether what is answered there can be read.

    Nothing is written and no page is sent.
    """  # noqa: D205 - one sentence, of two lines
    items = [CheckItem("configuration", f"{config.path} is well-formed", is_ok=True)]
    items += asyncio.run(_check_accounts(config))
    items += [_check_evidence(account, config) for account in config.accounts]
    for bot in config.bots:
        items += _check_bot(config, bot)
    channels = _check_channels(config)
    usable = outlets(config.paging) if all(each.is_ok for each in channels) else []
    return items + channels + check_answers(usable)


async def _check_accounts(config: Config) -> list[CheckItem]:
    results = await asyncio.gather(
        *(_check_account(account, config) for account in config.accounts)
    )
    return [item for items in results for item in items]


async def _check_account(account: Account, config: Config) -> list[CheckItem]:
    try:
        return await account_source(account, config, _now).check()
    except ReconError as error:
        return [CheckItem(f"account {account.id}", str(error))]


def _check_evidence(account: Account, config: Config) -> CheckItem:
    """Say over which time the account's evidence is whole, as its latest report has it."""
    subject = f"evidence of {account.id}"
    for path in sorted((config.state / "reports").glob("*.json"), reverse=True):
        document = json.loads(path.read_text(encoding="utf-8"))
        for entry in document["accounts"]:
            if entry["account"] == account.id and "proven_window" in entry:
                said = window_text(entry["proven_window"])
                return CheckItem(subject, f"{said}, {entry['status']} ({path.name})", is_ok=True)
    return CheckItem(subject, "no run has read any yet", is_ok=True)


def _check_bot(config: Config, bot: Bot) -> list[CheckItem]:
    """Read the bot's books as a night would, mapping and all."""
    subject = f"bot {bot.id}"
    try:
        mapping = find_mapping(bot.mapping, config.folder)
        source = books_source(bot, config, _now, mapping.reads)
        return [asyncio.run(_read(subject, source, mapping))]
    except ReconError as error:
        return [CheckItem(subject, str(error))]


async def _read(subject: str, source: Connector, mapping: BooksMapping) -> CheckItem:
    items = [item async for item in source.fetch(today())]
    tables = read_books(mapping, *unpack(items))
    if tables.problems:
        return CheckItem(
            subject,
            f"{len(tables.problems)} rows cannot be taken: {_told(tables.problems)}",
            remedy="correct the mapping, or the rows",
            notes=_lacking(tables),
        )
    return CheckItem(
        subject,
        f"{tables.trades.num_rows} closed trades, read by {tables.variant.name}",
        is_ok=True,
        notes=_lacking(tables),
    )


def _told(problems: Sequence[Problem]) -> str:
    """Say what is the matter with rows: how many of each query, and the first of them."""
    kinds: dict[tuple[str, str], list[str | None]] = {}
    for one in problems:
        kinds.setdefault((one.query, one.reason), []).append(one.key)
    return "; ".join(
        f"{reason} in {len(keys)} of {query}.sql (the first: {keys[0]})"
        for (query, reason), keys in kinds.items()
    )


def _lacking(tables: BooksTables) -> tuple[str, ...]:
    """Say what a mapping leaves out: columns that are null throughout, and whole queries."""
    notes = []
    for query in ANSWERS:
        rows = getattr(tables, query)
        if rows is None:
            notes.append(f"the mapping has no {query}.sql: nothing is held against it")
        elif not rows.num_rows:
            notes.append(f"{query}.sql gives no row")
        elif unknown := [name for name in rows.column_names if rows[name].null_count == len(rows)]:
            notes.append(f"{query}.sql knows nothing of {', '.join(unknown)}")
    return tuple(notes)


def _check_channels(config: Config) -> list[CheckItem]:
    if not config.paging.channels:
        note = "nobody will be paged: add [paging] channels"
        return [CheckItem("paging", "no channel is configured", is_ok=True, notes=(note,))]
    first = [(f"channel {n}", each) for n, each in enumerate(config.paging.channels, 1)]
    second = [(f"escalation {n}", each) for n, each in enumerate(config.paging.escalation, 1)]
    items = []
    for subject, channel in (*first, *second):
        try:
            name = understood(*channel.revealed).name
            items.append(CheckItem(subject, f"{name} is well-formed", is_ok=True))
        except ReconError as error:
            items.append(CheckItem(subject, str(error)))
    return items


def today() -> Window:
    """Return the last session that has ended: what books that are read whole are asked for."""
    session = last_ended(calendar(None), _now())
    return Window(session, session)


def _now() -> datetime:
    return datetime.now(UTC)
