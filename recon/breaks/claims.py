"""Claims: what each bot's own books say, if they can be read, and were read late enough.

Schema `books` keeps every bot's answers, `known` those of the last time that they could be read,
and `earlier` what they were before they changed. A night on which a bot's books were read in part
asks the mapping of that part alone: of its rows as they were, and as they are, and puts the one
answer in the other's place. Otherwise, and in any doubt, it asks of all that is kept.
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
"""The bots whose answers are kept; what these were made with: their own part, and everyone's; and
their mapping, as it is configured, or as it was recognised."""
RENEWED = pa.schema([("bot", pa.string()), ("closed_at", pa.timestamp("us"))])
"""When the closed trades closed that came, changed or went tonight."""


class Landed(NamedTuple):
    """What one fetch gave of a bot's books, and how what of it has changed stood before.

    Nothing of books that were read whole: what has landed of them is asked of the warehouse.
    """

    items: Sequence[Record | Table | Coverage]
    stood: pa.Table


def landed(items: Sequence[Record | Table | Coverage], stood: pa.Table) -> Landed:
    """Return what has landed of one fetch, with its rows only where these are a part of the books.

    `stood` is what `Warehouse.land` has returned.
    """
    is_in_part = any(isinstance(one, Coverage) and not one.is_snapshot for one in items)
    return Landed(tuple(items), stood) if is_in_part else Landed((), STOOD.empty_table())


def keep_claims(
    warehouse: Warehouse, plan: Plan, landed: Mapping[str, Landed], failed: Mapping[str, str]
) -> dict[str, str]:
    """Bring every bot's claims up to what has landed; return of which bots that failed, and why.

    `failed` are the bots whose books could not be fetched tonight, with the reason.
    """
    rules = _rules(warehouse)
    _prepare(warehouse, rules)
    unreadable = dict(failed)
    for one in plan.bots:
        bot = one.bot
        try:
            if bot.id not in unreadable:
                read_at = _last_read(warehouse, bot, plan.of(bot.account).window.end)
                _keep(warehouse, plan, one, rules, landed.get(bot.id), read_at)
        except EvidenceError as error:
            unreadable[bot.id] = reason(error, f"bot_database {bot.id}")
        if bot.id in unreadable:
            _forget(warehouse, bot)
    warehouse.build("claims")
    known = ANSWERS["trades"].append(pa.field("bot", pa.string()))
    warehouse.keep("bot_trades", "current", known.append(pa.field("recipe", pa.string())))
    for name in ("previous", "current"):  # the current rows are the previous ones until they change
        warehouse.build("bot_trades", only=name)
    return unreadable


def _rules(warehouse: Warehouse) -> str:
    """Return what tells this release's way to the claims from another's."""
    texts = [text for _, text in warehouse.queries("claims")]
    macros = (sql_root() / "macros.sql").read_text(encoding="utf-8")
    return _digest(__version__, macros, *map(str, (*ANSWERS.values(), READABLE)), *texts)


def _prepare(warehouse: Warehouse, rules: str) -> None:
    """Make the tables of the answers: anew where another release has made them."""
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


def _keep(
    warehouse: Warehouse,
    plan: Plan,
    mine: BotPlan,
    rules: str,
    landed: Landed | None,
    read_at: datetime,
) -> None:
    """Keep a bot's answers: those of what was read tonight alone, if that will do, or of all."""
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
        before = _asked(mine, account.account, None, *changed)
        now = _asked(mine, account.account, read_at, *unpack(landed.items))
        if _renew(warehouse, bot, before, now):
            return
    _forget(warehouse, bot)
    whole = _whole(warehouse, mine, account.account, read_at, schemas)
    _insert(warehouse, bot, whole)
    warehouse.run(
        "insert into bot_database.readable values (?, ?, ?, ?)",
        [bot.id, recipe, rules, variant.mapping.name if bot.mapping == "auto" else bot.mapping],
    )


def _asked(
    mine: BotPlan,
    account: Account,
    read_at: datetime | None,
    schema: Schema,
    tables: Mapping[str, pa.Table],
) -> MappingAnswers:
    """Return what the mapping answers of a bot's tables, each instrument as its venue names it.

    `read_at` is when the tables were read, where no trade may have closed later. Every exception is
    the bot's failure: the mapping runs in a database of its own. An error in a statement of the
    warehouse ends the night's transaction instead, and the night finds the bot at fault.
    """
    with contained(f"bot_database {mine.bot.id}"):
        answers = read_books(mine.mapping, schema, tables, limits=mine.limits)
        answers = named_by_venue(answers, account.venue)
        if read_at is not None:
            _check_past(answers, mine.bot, read_at)
        return answers


def named_by_venue(tables: MappingAnswers, venue: str) -> MappingAnswers:
    """Return the answers with each instrument as its venue names it: OKX has names of its own."""
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
    """Return OKX's own name of an instrument that is named as ccxt does, or the name as it is.

    `BTC/USDT` is `BTC-USDT`, `BTC/USDT:USDT` is `BTC-USDT-SWAP`, `BTC/USD:BTC-260626` is
    `BTC-USD-260626`.
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
    """Return whether a part of the books was read, and in units that are mapped by themselves."""
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


def _renew(warehouse: Warehouse, bot: Bot, before: MappingAnswers, now: MappingAnswers) -> bool:
    """Put what the rows that were read say now in the place of what they said before.

    Return False, and leave all as it was, where these are not told apart from others: where a row
    has a problem, or the key of one that was not read.
    """
    if before.problems or now.problems:
        return False
    answers = {query: (_rows(query, before), _rows(query, now)) for query in ANSWERS}
    for query, (old, new) in answers.items():
        with warehouse.registered("before", old), warehouse.registered("now", new):
            if warehouse.rows(
                f"""
                select 1 from bot_database.{query} k semi join now n on {_same(query, "n")}
                anti join before b on {_same(query, "b")} where k.bot = ? limit 1
                """,
                [bot.id],
            ):
                return False
    for query, (old, _) in answers.items():
        with warehouse.registered("before", old):
            warehouse.run(
                f"delete from bot_database.{query} k using before b "
                f"where k.bot = ? and {_same(query, 'b')}",
                [bot.id],
            )
    _note_renewed(warehouse, bot, before.trades)
    _insert(warehouse, bot, now)
    return True


def _rows(query: str, answers: MappingAnswers) -> pa.Table:
    rows = getattr(answers, query)
    return ANSWERS[query].empty_table() if rows is None else rows


def _same(query: str, other: str) -> str:
    return " and ".join(f"k.{column} = {other}.{column}" for column in KEYS[query])


def _insert(warehouse: Warehouse, bot: Bot, tables: MappingAnswers) -> None:
    for query in ANSWERS:
        warehouse.append("bot_database", query, _of(bot, _rows(query, tables)))
    _note_renewed(warehouse, bot, tables.trades)


def _note_renewed(warehouse: Warehouse, bot: Bot, trades: pa.Table) -> None:
    warehouse.append("bot_database", "renewed", _of(bot, trades.select(["closed_at"])))


def _of(bot: Bot, rows: pa.Table) -> pa.Table:
    return rows.append_column("bot", pa.array([bot.id] * rows.num_rows, pa.string()))


def _forget(warehouse: Warehouse, bot: Bot) -> None:
    """Keep nothing of a bot's answers: the next night asks of all its books."""
    warehouse.run(
        "insert into bot_database.renewed "
        "select bot, closed_at from bot_database.trades where bot = ?",
        [bot.id],
    )
    for name in ("readable", *ANSWERS):
        warehouse.run(f"delete from bot_database.{name} where bot = ?", [bot.id])


def _whole(
    warehouse: Warehouse,
    mine: BotPlan,
    account: Account,
    read_at: datetime,
    schemas: Mapping[str, str],
) -> MappingAnswers:
    """Return what the mapping answers of all that is kept of a bot's books."""
    bot = mine.bot

    def read(kind: str, fields: str) -> pa.Table:
        return _stored(warehouse, bot, kind, fields)

    tables = _asked(mine, account, read_at, *unpack_stored(schemas.items(), read))
    if problems := [one for one in tables.problems if one.query == "trades"]:
        raise BotDatabaseError(
            f"the books of {bot.id}: {len(problems)} trades cannot be taken, the "
            f"first: {problems[0].key}: {problems[0].reason}"
        )
    return tables


def _stored(warehouse: Warehouse, bot: Bot, kind: str, fields: str) -> pa.Table:
    """Return what is kept of a bot's books, of one kind, as it stands."""
    return warehouse.arrow(
        f"select {fields} from raw.latest_state "
        "where venue = 'bot_database' and account = ? and kind = ? and payload is not null",
        [bot.id, kind],
    )


def _last_read(warehouse: Warehouse, bot: Bot, end: datetime) -> datetime:
    """Return when the books were last read. Before the session ended they cannot know all of it."""
    read = max(
        (i.end for i in warehouse.served("bot_database", bot.id, "bot_database", "schema")),
        default=None,
    )
    if read is None:
        raise BotDatabaseError(f"the books of {bot.id} were never read: run without --no-fetch")
    if read < end:
        raise BotDatabaseError(
            f"the books of {bot.id} were last read at {read:%Y-%m-%d %H:%M} UTC, before the "
            "session ended: run without --no-fetch"
        )
    return read


def _check_past(tables: MappingAnswers, bot: Bot, read_at: datetime) -> None:
    """Refuse trades that closed after they were read: their times are not UTC, or not times."""
    closed_at = tables.trades["closed_at"]
    limit = pa.scalar((read_at + MAX_AHEAD).replace(tzinfo=None), closed_at.type)
    latest = pc.max(closed_at)
    if pc.greater(latest, limit).as_py():  # DuckDB's years go further than Python's
        raise BotDatabaseError(
            f"the books of {bot.id} have a trade that closed at {latest.cast(pa.string())} UTC, "
            "after they were read: give closed_at in UTC"
        )


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
