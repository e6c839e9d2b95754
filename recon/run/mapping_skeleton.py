"""Write a first mapping for a bot database: its queries, with columns to fill in."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from connectors.protocol import Connector
from recon.bot_databases.mapping_queries import ANSWERS
from recon.bot_databases.mappings import Schema
from recon.bot_databases.run_mapping import unpack
from recon.config.settings import Config
from recon.core.records import Clock, Window
from recon.core.sql_names import quoted
from recon.errors import UsageError
from recon.fetch.boundary import contained
from recon.fetch.connectors_for import books_at, books_source

_SAYS = {
    "trades": "The closed trades of this bot.\nGrain: one row for each trade or partial close.",
    "fills": "The fills of this bot.\nGrain: one row for each fill.",
    "positions": "The positions of this bot.\nGrain: one row for each instrument.",
}
_KEYS = {"trades": "trade_id", "fills": "(instrument, fill_id)", "positions": "instrument"}
_NOTES = {
    "trade_id": "a text that is unique among the trades",
    "instrument": "as the venue names it: BTC-USDT-SWAP, BTC/USDT:USDT, AAPL",
    "side": "'long' or 'short'; of a fill 'buy' or 'sell'",
    "qty": "closed, unsigned; of a position: short is negative",
    "opened_at": "UTC: a timestamp, text with a zone, or instant(a number)",
    "closed_at": "UTC, as opened_at",
    "at": "UTC: a timestamp, text with a zone, or instant(a number)",
    "gross": "before costs",
    "fee": "paid is negative",
    "funding": "paid is negative",
    "pnl": "the number that the bot shows its operator, as it shows it",
    "order_ids": "a list of the venue's order ids: [entry_id, exit_id]",
    "order_id": "the venue's id",
    "fill_id": "the venue's id, or else a unique text",
}
_REQUIRED = {
    "trades": ("trade_id", "instrument", "side", "closed_at", "pnl"),
    "fills": ("fill_id", "instrument", "side", "qty", "price", "at"),
    "positions": ("instrument", "qty"),
}
_WORDS = {
    "trades": ("closed", "trade", "deal"),
    "fills": ("fill", "execution", "order"),
    "positions": ("position", "holding", "open"),
}
"""Words in the likely name of a query's table, the likeliest first."""

_WIDTH = 98


def books_of(config: Config | None, bot: str, url: str, now: Clock) -> Connector:
    """Return the source of all tables of a configured bot's database, or of the one at a URL.

    A relative path in the URL is relative to the current folder. Raises UsageError for an unknown
    bot, ConfigError for an unknown kind of database.
    """
    if config is None:
        return books_at(url, Path(), now, lambda _table: True)
    for one in config.bots:
        if one.id == bot:
            return books_source(one, config, now, lambda _table: True)
    known = ", ".join(one.id for one in config.bots) or "none yet"
    raise UsageError(f"--bot {bot}: there is no such bot in {config.path}: use one of {known}")


def write_skeleton(folder: Path, source: Connector, window: Window) -> list[Path]:
    """Write a mapping's queries into `folder`, with the tables of `source`; return their paths.

    Raises UsageError, and writes nothing, if one of them exists, and BotDatabaseError if the
    database cannot be read.
    """
    paths = {query: folder / f"{query}.sql" for query in ANSWERS}
    if there := [path for path in paths.values() if path.exists()]:
        raise UsageError(f"{there[0]} exists already: name another folder, or remove the file")
    schema, tables = asyncio.run(_read(source, window))
    rows = {name: table.num_rows for name, table in tables.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for query, path in paths.items():
            with path.open("x", encoding="utf-8") as file:
                file.write(skeleton(query, schema, rows))
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error.strerror}): name another folder"
        ) from error
    return list(paths.values())


async def _read(source: Connector, window: Window) -> tuple[Schema, dict[str, pa.Table]]:
    with contained(f"{source.venue} {source.account}"):
        return unpack([item async for item in source.fetch(window)])


def skeleton(query: str, schema: Schema, rows: dict[str, int]) -> str:
    """Return the text of one query: its columns as null, over the likeliest table."""
    table = _likeliest(query, rows)
    lines = [f"-- {line}" for line in _SAYS[query].splitlines()]
    lines[-1] += f" Key: {_KEYS[query]}."
    lines += [
        "--",
        "-- Replace each null with an expression over the columns of this database. A required",
        "-- column must not be null. A value that the database lacks stays null, and is never 0.",
        "-- Add no other columns. Multiply money with exact_product(a, b), divide it with",
        "-- exact_quotient(a, b). Then name the columns that you use in a line like the next one,",
        "-- without the sign #: it tells this database from others.",
        "-- # requires: table(column, column)",
    ]
    if query != "trades":
        lines.append("-- This query is optional: remove the file if you do not need it.")
    lines += ["--", "-- The tables of the database:"]
    for name, columns in schema.items():
        typed = ", ".join(f"{column} {kind}" for column, kind in columns)
        detail = f"bot.{_written(name)}, {rows.get(name, 0):,} rows: {typed}"
        lines += textwrap.wrap(
            detail,
            _WIDTH,
            initial_indent="--   ",
            subsequent_indent="--     ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join([*lines, *_select(query), f"from bot.{_written(table)};", ""])


def _select(query: str) -> Sequence[str]:
    names = ANSWERS[query].names
    lines = ["select"]
    for name in names:
        comma = "," if name != names[-1] else ""
        column = f"  null as {quoted(name) if name == 'at' else name}{comma}"
        must = "required; " if name in _REQUIRED[query] else ""
        note = f"{must}{_NOTES.get(name, '')}".rstrip("; ")
        lines.append(f"{column:<27}-- {note}" if note else column)
    return lines


def _likeliest(query: str, rows: dict[str, int]) -> str:
    """Return the table with a likely name for a query, or else the one with the most rows."""
    for word in _WORDS[query]:
        if named := [name for name in rows if word in name.lower()]:
            return named[0]
    return max(rows, key=lambda name: rows[name])


def _written(name: str) -> str:
    """Return a table's name for SQL, quoted only if necessary."""
    return name if name.isascii() and name.isidentifier() else quoted(name)
