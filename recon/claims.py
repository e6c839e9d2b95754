"""Claims: what each bot's own books say, if they can be read, and were read late enough."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from recon.books import BooksTables, read_books, unpack_stored
from recon.config import Bot
from recon.errors import BooksError
from recon.plan import BotPlan, Plan
from recon.warehouse import Warehouse

MAX_AHEAD = timedelta(minutes=5)
"""How far a bot's clock may run ahead of this machine's."""


def read_claims(
    warehouse: Warehouse, plan: Plan, failed: Mapping[str, str]
) -> tuple[dict[str, BooksTables], dict[str, str]]:
    """Run every bot's mapping over its latest snapshot.

    Return the books of the bots whose books can be read, and of the others why not. `failed` are
    those that could not be fetched tonight, with the reason.
    """
    books: dict[str, BooksTables] = {}
    unreadable = dict(failed)
    for one in plan.bots:
        if one.bot.id not in unreadable:
            try:
                end = plan.of(one.bot.account).window.end
                books[one.bot.id] = _read(warehouse, one, end)
            except BooksError as error:
                unreadable[one.bot.id] = str(error)
    return books, unreadable


def _read(warehouse: Warehouse, plan: BotPlan, end: datetime) -> BooksTables:
    bot = plan.bot
    read_at = _last_read(warehouse, bot, end)
    stored = (
        "from raw.standing "
        "where venue = 'books' and account = ? and kind = ? and payload is not null"
    )
    schemas = warehouse.rows(f"select id, payload {stored}", [bot.id, "schema"])

    def read(kind: str, fields: str) -> pa.Table:
        return warehouse.arrow(f"select {fields} {stored}", [bot.id, kind])

    tables = read_books(
        plan.mapping, *unpack_stored([(row["id"], row["payload"]) for row in schemas], read)
    )
    if problems := [one for one in tables.problems if one.query == "trades"]:
        raise BooksError(
            f"the books of {bot.id}: {len(problems)} trades cannot be taken, the "
            f"first: {problems[0].key}: {problems[0].reason}"
        )
    _check_past(tables, bot, read_at)
    return tables


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
    latest = pc.max(tables.trades["closed_at"]).as_py()
    if latest is not None and latest.replace(tzinfo=UTC) > read_at + MAX_AHEAD:
        raise BooksError(
            f"the books of {bot.id} have a trade that closed at {latest} UTC, after they were "
            "read: give closed_at in UTC"
        )
