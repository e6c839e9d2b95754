"""Claims: the trades, fills and positions in each bot's database, as its mapping returns them.

Schema `bot_database` holds the mapping's rows of every bot whose database could be read.
`bot_trades.current` holds the trades of the last successful reading, and `bot_trades.previous` the
trades before they changed. A run that read part of a bot database maps that part twice, as it was
before and as it is now, and replaces the old rows with the new ones. In all other cases, and when
in doubt, it maps the whole stored bot database.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from recon import __version__
from recon.bot_databases.mapping_queries import ANSWERS, KEYS
from recon.bot_databases.mappings import Schema, Variant, query_text
from recon.bot_databases.run_mapping import (
    MappingAnswers,
    columns_of,
    read_books,
    unpack,
    unpack_before,
    unpack_stored,
)
from recon.config.settings import Account, Bot
from recon.core.records import Coverage, Record, Table
from recon.errors import BotDatabaseError, EvidenceError
from recon.fetch.boundary import contained, reason
from recon.fetch.plan import BotPlan, Plan
from recon.system.resources import sql_root
from recon.warehouse.database import STOOD, Warehouse

MAX_AHEAD = timedelta(minutes=5)
"""How far a bot's clock may run ahead of this machine's."""
READABLE = pa.schema([(name, pa.string()) for name in ("bot", "recipe", "rules", "mapping")])
"""The bots whose rows are stored. `recipe` is a fingerprint of the bot's mapping and account,
`rules` of the release. `mapping` is the name of the mapping, configured or recognised."""
RENEWED = pa.schema([("bot", pa.string()), ("closed_at", pa.timestamp("us"))])
"""When the trades closed that this run added, changed or removed."""


class Landed(NamedTuple):
    """The records of one partial fetch of a bot database, and their previous versions.

    Both are empty where the bot database was read whole: its records are then in the warehouse.
    """

    items: Sequence[Record | Table | Coverage]
    stood: pa.Table


def landed(items: Sequence[Record | Table | Coverage], stood: pa.Table) -> Landed:
    """Return what one fetch landed. Its rows are included only if it read part of a bot database.

    `stood` is the result of `Warehouse.land`.
    """
    is_in_part = any(isinstance(one, Coverage) and not one.is_snapshot for one in items)
    return Landed(tuple(items), stood) if is_in_part else Landed((), STOOD.empty_table())


def keep_claims(
    warehouse: Warehouse, plan: Plan, landed: Mapping[str, Landed], failed: Mapping[str, str]
) -> dict[str, str]:
    """Update every bot's claims from the landed records; return failed bots with the reasons.

    `failed` has the bots whose database this run could not fetch, with the reason.
    """
    rules = _release_fingerprint(warehouse)
    _create_tables(warehouse, rules)
    unreadable = dict(failed)
    for one in plan.bots:
        bot = one.bot
        try:
            if bot.id not in unreadable:
                read_at = _last_read_at(warehouse, bot, plan.of(bot.account).window.end)
                _update_rows(warehouse, plan, one, rules, landed.get(bot.id), read_at)
        except EvidenceError as error:
            unreadable[bot.id] = reason(error, f"bot_database {bot.id}")
        if bot.id in unreadable:
            _delete_rows(warehouse, bot)
    warehouse.build("claims")
    known = ANSWERS["trades"].append(pa.field("bot", pa.string()))
    warehouse.keep("bot_trades", "current", known.append(pa.field("recipe", pa.string())))
    for name in ("previous", "current"):  # the current rows are the previous ones until they change
        warehouse.build("bot_trades", only=name)
    return unreadable


def _release_fingerprint(warehouse: Warehouse) -> str:
    """Return a fingerprint of version, columns, SQL and macros. A change triggers a rebuild."""
    texts = [text for _, text in warehouse.queries("claims")]
    macros = (sql_root() / "macros.sql").read_text(encoding="utf-8")
    return _digest(__version__, macros, *map(str, (*ANSWERS.values(), READABLE)), *texts)


def _create_tables(warehouse: Warehouse, rules: str) -> None:
    """Create the tables of mapped rows; drop and recreate them if another release created them."""
    columns = warehouse.rows(
        "select column_name from duckdb_columns() "
        "where schema_name = 'bot_database' and table_name = 'readable' and column_name = 'rules'"
    )
    if not columns or warehouse.rows(
        "from bot_database.readable where rules <> ? limit 1", [rules]
    ):
        warehouse.drop(["bot_database", "claims"])
    warehouse.keep("bot_database", "readable", READABLE)
    for query, schema in ANSWERS.items():
        warehouse.keep("bot_database", query, schema.append(pa.field("bot", pa.string())))
    warehouse.store("bot_database", "renewed", RENEWED.empty_table())


def _update_rows(
    warehouse: Warehouse,
    plan: Plan,
    mine: BotPlan,
    rules: str,
    landed: Landed | None,
    read_at: datetime,
) -> None:
    """Update a bot's mapped rows: from the part that this run read, if possible, else from all."""
    bot = mine.bot
    schemas = {
        row["id"]: row["payload"]
        for row in _stored(warehouse, bot, "schema", "id, payload").to_pylist()
    }
    variant = mine.mapping.choose({table: columns_of(one) for table, one in schemas.items()})
    account = plan.of(bot.account)
    is_shared = any(one.bot.id == bot.id for one in plan.shared)
    recipe = _digest(
        *(query_text(path) for path in variant.queries.values()),
        *map(
            str,
            (account.account.id, account.account.calendar, account.window.first.date, is_shared),
        ),
    )
    is_kept = warehouse.rows(
        "from bot_database.readable where bot = ? and recipe = ?", [bot.id, recipe]
    )
    if is_kept and landed is None:
        return
    if is_kept and landed and _is_in_units(variant, landed):
        changed = unpack_before(landed.items, landed.stood)
        before = _map_tables(mine, account.account, None, *changed)
        now = _map_tables(mine, account.account, read_at, *unpack(landed.items))
        if _replace_rows(warehouse, bot, before, now):
            return
    _delete_rows(warehouse, bot)
    whole = _map_whole(warehouse, mine, account.account, read_at, schemas)
    _insert(warehouse, bot, whole)
    warehouse.run(
        "insert into bot_database.readable values (?, ?, ?, ?)",
        [bot.id, recipe, rules, variant.mapping.name if bot.mapping == "auto" else bot.mapping],
    )


def _map_tables(
    mine: BotPlan,
    account: Account,
    read_at: datetime | None,
    schema: Schema,
    tables: Mapping[str, pa.Table],
) -> MappingAnswers:
    """Return the mapping's rows for a bot's tables, with the venue's instrument names.

    `read_at` is when the tables were read; with it, no trade may have closed later. Every exception
    counts as the bot's failure, because the mapping runs in a database of its own. An error in a
    warehouse statement ends the run's transaction instead, and the run finds the bot at fault.
    """
    with contained(f"bot_database {mine.bot.id}"):
        answers = read_books(mine.mapping, schema, tables, limits=mine.limits)
        answers = named_by_venue(answers, account.venue)
        if read_at is not None:
            _check_past(answers, mine.bot, read_at)
        return answers


def named_by_venue(tables: MappingAnswers, venue: str) -> MappingAnswers:
    """Return the mapped rows with the venue's instrument names. Only OKX has names of its own."""
    if venue != "okx":
        return tables
    return replace(
        tables,
        **{
            query: _renamed(rows)
            for query in ANSWERS
            if (rows := getattr(tables, query)) is not None
        },
    )


def _renamed(rows: pa.Table) -> pa.Table:
    names = rows["instrument"].to_pylist()
    if not any(name and "/" in name for name in names):
        return rows
    place = rows.schema.get_field_index("instrument")
    known = {name: okx_name(name) for name in set(names) if name is not None}
    column = pa.array([known.get(name) for name in names], pa.string())
    return rows.set_column(place, "instrument", column)


def okx_name(instrument: str) -> str:
    """Return OKX's name of an instrument with a ccxt name. Return any other name unchanged.

    `BTC/USDT` becomes `BTC-USDT`, `BTC/USDT:USDT` becomes `BTC-USDT-SWAP`, and
    `BTC/USD:BTC-260626` becomes `BTC-USD-260626`.
    """
    pair, is_contract, rest = instrument.partition(":")
    base, is_pair, quote = pair.partition("/")
    if not is_pair:
        return instrument
    if not is_contract:
        return f"{base}-{quote}"
    _, _, expiry = rest.partition("-")
    return f"{base}-{quote}-{expiry or 'SWAP'}"


def _is_in_units(variant: Variant, landed: Landed) -> bool:
    """Return whether part of the bot database was read, in units that can be mapped separately."""
    in_part = {
        kind.removeprefix("table:").lower()
        for item in landed.items
        if isinstance(item, Coverage) and not item.is_snapshot
        for kind in item.kinds
    }
    present = {
        item.kind.removeprefix("table:").lower() for item in landed.items if isinstance(item, Table)
    }
    marks = variant.watermarks
    return bool(in_part) and marks.is_in_units and in_part == marks.tables & present


def _replace_rows(
    warehouse: Warehouse, bot: Bot, before: MappingAnswers, now: MappingAnswers
) -> bool:
    """Replace the mapped rows of `before` with those of `now`; return whether that was possible.

    It is not, and nothing changes, if a row has a problem or has the key of a row that was not
    read: such rows cannot be distinguished from others.
    """
    if before.problems or now.problems:
        return False
    answers = {query: (_rows(query, before), _rows(query, now)) for query in ANSWERS}
    for query, (old, new) in answers.items():
        with warehouse.registered("before", old), warehouse.registered("now", new):
            if warehouse.rows(
                f"""
                select 1 from bot_database.{query} k semi join now n on {_same_key(query, "n")}
                anti join before b on {_same_key(query, "b")} where k.bot = ? limit 1
                """,
                [bot.id],
            ):
                return False
    for query, (old, _) in answers.items():
        with warehouse.registered("before", old):
            warehouse.run(
                f"delete from bot_database.{query} k using before b "
                f"where k.bot = ? and {_same_key(query, 'b')}",
                [bot.id],
            )
    _record_renewed(warehouse, bot, before.trades)
    _insert(warehouse, bot, now)
    return True


def _rows(query: str, answers: MappingAnswers) -> pa.Table:
    rows = getattr(answers, query)
    return ANSWERS[query].empty_table() if rows is None else rows


def _same_key(query: str, other: str) -> str:
    return " and ".join(f"k.{column} = {other}.{column}" for column in KEYS[query])


def _insert(warehouse: Warehouse, bot: Bot, tables: MappingAnswers) -> None:
    for query in ANSWERS:
        warehouse.append("bot_database", query, _with_bot(bot, _rows(query, tables)))
    _record_renewed(warehouse, bot, tables.trades)


def _record_renewed(warehouse: Warehouse, bot: Bot, trades: pa.Table) -> None:
    warehouse.append("bot_database", "renewed", _with_bot(bot, trades.select(["closed_at"])))


def _with_bot(bot: Bot, rows: pa.Table) -> pa.Table:
    return rows.append_column("bot", pa.array([bot.id] * rows.num_rows, pa.string()))


def _delete_rows(warehouse: Warehouse, bot: Bot) -> None:
    """Delete a bot's mapped rows: the next run maps its whole database."""
    warehouse.run(
        "insert into bot_database.renewed "
        "select bot, closed_at from bot_database.trades where bot = ?",
        [bot.id],
    )
    for name in ("readable", *ANSWERS):
        warehouse.run(f"delete from bot_database.{name} where bot = ?", [bot.id])


def _map_whole(
    warehouse: Warehouse,
    mine: BotPlan,
    account: Account,
    read_at: datetime,
    schemas: Mapping[str, str],
) -> MappingAnswers:
    """Return the mapping's rows for the whole stored bot database."""
    bot = mine.bot

    def read(kind: str, fields: str) -> pa.Table:
        return _stored(warehouse, bot, kind, fields)

    tables = _map_tables(mine, account, read_at, *unpack_stored(schemas.items(), read))
    if problems := [one for one in tables.problems if one.query == "trades"]:
        raise BotDatabaseError(
            f"bot database {bot.id}: {len(problems)} trades are not valid, the first: "
            f"{problems[0].key}: {problems[0].reason}: correct the mapping or the bot database"
        )
    return tables


def _stored(warehouse: Warehouse, bot: Bot, kind: str, fields: str) -> pa.Table:
    """Return the latest stored records of one kind of a bot database."""
    return warehouse.arrow(
        f"select {fields} from raw.latest_state "
        "where venue = 'bot_database' and account = ? and kind = ? and payload is not null",
        [bot.id, kind],
    )


def _last_read_at(warehouse: Warehouse, bot: Bot, end: datetime) -> datetime:
    """Return when the bot database was last read. Raise if that was before the session ended."""
    read = max(
        (i.end for i in warehouse.served("bot_database", bot.id, "bot_database", "schema")),
        default=None,
    )
    if read is None:
        raise BotDatabaseError(f"bot database {bot.id} was never read: run without --no-fetch")
    if read < end:
        raise BotDatabaseError(
            f"bot database {bot.id} was last read at {read:%Y-%m-%d %H:%M} UTC, before the "
            "session ended: run without --no-fetch"
        )
    return read


def _check_past(tables: MappingAnswers, bot: Bot, read_at: datetime) -> None:
    """Raise for a trade that closed after it was read: its time is not UTC, or not a time."""
    closed_at = tables.trades["closed_at"]
    limit = pa.scalar((read_at + MAX_AHEAD).replace(tzinfo=None), closed_at.type)
    latest = pc.max(closed_at)
    if pc.greater(latest, limit).as_py():  # DuckDB's years go further than Python's
        raise BotDatabaseError(
            f"bot database {bot.id} has a trade that closed at {latest.cast(pa.string())} UTC, "
            "after it was read: give closed_at in UTC"
        )


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
