"""Run the queries of a mapping over the snapshot of a bot's database, in a sealed DuckDB.

This module runs in a process of its own (`mapping_child.py`), which has limits of memory and time.
Each query is a single `select` over the schema `bot`, with the macros of `sql/macros.sql` and the
functions of `sql_functions.py`, within the rules of `mapping_rules.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from recon.bot_databases.exact_product import NUMBER
from recon.bot_databases.mapping_rules import Refused, check_query, parsed
from recon.bot_databases.sql_functions import MAPPING_FUNCTIONS
from recon.core.numbers import PLACES
from recon.core.sql_names import quoted
from recon.errors import BotDatabaseError, afterwards, closing
from recon.system.resources import sql_root

_MONEY = pa.decimal128(38, PLACES)
_TIME = pa.timestamp("us")

ANSWERS: dict[str, pa.Schema] = {
    "trades": pa.schema(
        [
            ("trade_id", pa.string()),
            ("instrument", pa.string()),
            ("side", pa.string()),
            ("qty", _MONEY),
            ("opened_at", _TIME),
            ("closed_at", _TIME),
            ("entry_price", _MONEY),
            ("exit_price", _MONEY),
            ("gross", _MONEY),
            ("fee", _MONEY),
            ("funding", _MONEY),
            ("pnl", _MONEY),
            ("order_ids", pa.list_(pa.string())),
        ]
    ),
    "fills": pa.schema(
        [
            ("fill_id", pa.string()),
            ("order_id", pa.string()),
            ("instrument", pa.string()),
            ("side", pa.string()),
            ("qty", _MONEY),
            ("price", _MONEY),
            ("fee", _MONEY),
            ("fee_currency", pa.string()),
            ("at", _TIME),
        ]
    ),
    "positions": pa.schema([("instrument", pa.string()), ("qty", _MONEY), ("avg_price", _MONEY)]),
}
"""The columns of each query's answer: times in UTC without a zone, money in the bot's currency."""

_ROUNDED = {"entry_price", "exit_price", "gross", "fee", "funding", "pnl"}
"""The columns of trades that a mapping may compute from floats: rounded half to even to 18 places.

All other columns refuse a digit past the eighteenth: a quantity or a fill's price is a fact. A
mapping that needs it rounded calls exact_product.
"""

KEYS = {
    "trades": ("trade_id",),
    "fills": ("instrument", "fill_id"),
    "positions": ("instrument",),
}
"""The columns that identify a row of each query's answer."""

_NEEDED = {
    "trades": ("trade_id", "instrument", "closed_at", "pnl"),
    "fills": ("fill_id", "instrument", "qty", "price", "at"),
    "positions": ("instrument", "qty"),
}
_SIDES = {"trades": ("long", "short"), "fills": ("buy", "sell")}

_EXACT_TYPES = {
    "decimal",
    "null",
    "varchar",
    "tinyint",
    "smallint",
    "integer",
    "bigint",
    "hugeint",
    "utinyint",
    "usmallint",
    "uinteger",
    "ubigint",
    "uhugeint",
}
_NAIVE_TYPES = {"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "null"}
_INSTANT = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6}0*)?)?"
    r" ?(Z|[+-](0[0-9]|1[0-8])(:?[0-5][0-9])?)?"
)
MAX_DIGITS = 38
_COLUMN_TYPE = re.compile(
    r"BOOLEAN|BIGINT|HUGEINT|VARCHAR|BLOB|DATE|TIMESTAMP( WITH TIME ZONE)?"
    r"|DECIMAL\(([1-9]|[12][0-9]|3[0-8]), ?([0-9]|[12][0-9]|3[0-8])\)"
)


SEALED: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,  # a name in a query is a table, never a Python variable
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
}
"""The settings of every DuckDB in memory: it reaches neither Python variables nor the network."""

MAX_PROBLEMS = 100_000
"""The most rows of one answer that are named for one reason."""

_DUCKDB_PART = 0.6
"""DuckDB's part of the memory. DuckDB does not count texts, lists and recon's own functions: they
use the rest."""
_SPILL_TIMES = 8
"""The limit of the spill folder, as a multiple of the memory limit."""
_MAX_THREADS = 4
_SHOWN = 300
"""The most characters of a value or of DuckDB's message that an error shows."""
_LOST_DIGITS = "more digits than its columns"
_MB = 1024 * 1024

ANSWER_PART = 0.5
"""The part of the memory that the rows of one answer may use."""
MORE_MEMORY = (
    "join tables on keys, select fewer rows and columns, or raise mapping_memory_mb under "
    "[recon.limits]"
)
_MACROS_TEXT = (sql_root() / "macros.sql").read_text(encoding="utf-8")
_MACROS = re.findall(r"^create or replace macro (\w+)\(", _MACROS_TEXT, re.MULTILINE)


class Snapshot(NamedTuple):
    """The tables of a bot, as text. `batches` holds their rows, in the order of `schema`."""

    schema: Mapping[str, Sequence[tuple[str, str]]]
    optional: Mapping[str, Sequence[str]]
    batches: Iterable[pa.RecordBatchReader]


class Room(NamedTuple):
    """The memory that one mapping may use, and a private empty folder to spill into."""

    memory_mb: int
    spill: str


class Answer(NamedTuple):
    """The answer of one query: its rows in the contract's types, and its problems.

    `problems` holds the key of each invalid row, and the reason.
    """

    query: str
    rows: pa.RecordBatchReader
    problems: list[tuple[str | None, str]]


def loadable(
    schema: Mapping[str, Sequence[tuple[str, str]]],
) -> dict[str, list[tuple[str, str]]]:
    """Return the tables and columns with a name. SQLite allows an empty one, SQL does not."""
    named = {table: [one for one in columns if one[0]] for table, columns in schema.items()}
    return {table: columns for table, columns in named.items() if table and columns}


def answers(
    parser: duckdb.DuckDBPyConnection,
    queries: Mapping[str, tuple[Path, str]],
    snapshot: Snapshot,
    room: Room,
) -> Iterator[Answer]:
    """Yield the answer of each query, after all queries are checked and the snapshot is loaded.

    `queries` holds the path and the text of each. Read the rows of an answer before the next answer
    is requested. Raises BotDatabaseError, which names the file.
    """
    tables = {*loadable(snapshot.schema), *snapshot.optional}
    for path, text in queries.values():
        _check_text(parser, path, text, tables, room)
    config = SEALED | {
        "memory_limit": f"{int(room.memory_mb * _DUCKDB_PART)}MB",
        "temp_directory": room.spill,
        "max_temp_directory_size": f"{room.memory_mb * _SPILL_TIMES}MB",
        "threads": min(_MAX_THREADS, os.cpu_count() or 1),
    }
    with closing(duckdb.connect(":memory:", config=config)) as database:
        _load(database, snapshot, room)
        for query, (path, text) in queries.items():
            with _blaming(path, room):
                _run(database, query, path, text)
                _check_size(database, query, path, room)
                problems = _problems(database, query)
                yield Answer(query, _rows(database, query), problems)
                database.execute(f"drop table {query}")


def _check_text(
    parser: duckdb.DuckDBPyConnection, path: Path, text: str, tables: Iterable[str], room: Room
) -> None:
    """Raise BotDatabaseError for a query that breaks the rules of mappings. Loads no data."""
    if "\0" in text:
        raise BotDatabaseError(f"{path} contains a zero byte: save it as plain text")
    with _blaming(path, room):
        [found] = parser.execute("select json_serialize_sql(?::varchar)", [text]).fetchone() or ()
        try:
            tree = parsed(found)
            if tree["error"]:
                _refuse_unparsed(path, tree)
            check_query(tree, tables, {*MAPPING_FUNCTIONS, *_MACROS})
        except Refused as refusal:
            raise BotDatabaseError(f"{path} {_clipped(str(refusal))}") from refusal


def _refuse_unparsed(path: Path, tree: Mapping[str, str]) -> NoReturn:
    """Raise the error for a text that DuckDB's parser or serializer rejects."""
    if tree["error_type"] == "not implemented":
        raise Refused("must be one select statement, and nothing else")
    if "memory" in tree["error_type"]:
        raise MemoryError
    raise BotDatabaseError(f"{path}: Parser Error: {_clipped(tree['error_message'])}")


def _load(database: duckdb.DuckDBPyConnection, snapshot: Snapshot, room: Room) -> None:
    """Fill schema `bot`, then lock DuckDB: from here on SQL reaches no file and no setting.

    An `optional` column that the bot lacks is null.
    """
    database.execute("set timezone = 'UTC'")
    database.execute("create schema bot")
    for name, function in MAPPING_FUNCTIONS.items():
        database.create_function(
            name,
            function.call,
            function.parameters,
            function.returns,
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )
    database.execute(_MACROS_TEXT)
    for (table, columns), rows in zip(
        loadable(snapshot.schema).items(), snapshot.batches, strict=True
    ):
        _load_table(database, table, columns, rows, room)
    for table, names in snapshot.optional.items():
        place = f"bot.{quoted(table)}"
        declared = [f"{quoted(name)} varchar" for name in sorted(names)]
        database.execute(f"create table if not exists {place} ({', '.join(declared)})")
        for one in declared:
            database.execute(f"alter table {place} add column if not exists {one}")
    database.execute("set enable_external_access = false")
    database.execute("set lock_configuration = true")


def _load_table(
    database: duckdb.DuckDBPyConnection,
    table: str,
    columns: Sequence[tuple[str, str]],
    rows: pa.RecordBatchReader,
    room: Room,
) -> None:
    for name, duckdb_type in columns:
        if not _COLUMN_TYPE.fullmatch(duckdb_type):
            raise BotDatabaseError(
                f"column {name} of table {table} has no known type: {duckdb_type}"
            )
    chosen = ", ".join(
        f"unhex({quoted(name)}) as {quoted(name)}"
        if duckdb_type == "BLOB"
        else f"{quoted(name)}::{duckdb_type} as {quoted(name)}"
        for name, duckdb_type in columns
    )
    # A cast to a decimal rounds silently: a lost digit would never be noticed.
    lost = " or ".join(
        f"coalesce({places(quoted(name))} > {match[3]}, false)"
        for name, duckdb_type in columns
        if (match := _COLUMN_TYPE.fullmatch(duckdb_type)) and match[3]
    )
    condition = f"where if({lost}, error('{_LOST_DIGITS}'), true)" if lost else ""
    database.register("incoming", rows)
    with (
        _blaming(f"table {table} cannot be loaded", room),
        afterwards(lambda: database.unregister("incoming")),
    ):
        try:
            database.execute(
                f"create table bot.{quoted(table)} as select {chosen} from incoming {condition}"
            )
        except duckdb.InvalidInputException as error:
            if _LOST_DIGITS not in str(error):
                raise
            raise BotDatabaseError(
                f"table {table} holds {_LOST_DIGITS}: snapshot it again"
            ) from error


def places(name: str) -> str:
    """Return the SQL for the number of decimal places in the text of a column."""
    return f"length(rtrim(split_part({name}, '.', 2), '0'))"


def _run(database: duckdb.DuckDBPyConnection, query: str, path: Path, text: str) -> None:
    """Run one query and store its answer in table `query`, with the contract's types."""
    given, wanted = f"{query}_as_given", ANSWERS[query]
    [statement] = duckdb.extract_statements(text)
    relation = database.sql(statement.query)
    types = dict(zip(relation.columns, (str(one.id) for one in relation.types), strict=True))
    _check_columns(path, list(relation.columns), wanted.names)
    relation.create(given)
    readings = {field.name: _reading(path, query, field, types[field.name]) for field in wanted}
    _check_readable(database, path, given, readings)
    chosen = [f"{reading} as {quoted(name)}" for name, reading in readings.items()]
    database.execute(f"create table {query} as select {', '.join(chosen)} from {given}")
    database.execute(f"drop table {given}")


def _check_size(database: duckdb.DuckDBPyConnection, query: str, path: Path, room: Room) -> None:
    """Raise BotDatabaseError for an answer that needs more than half of the memory of `room`."""
    sizes = []
    for field in ANSWERS[query]:
        name = quoted(field.name)
        if pa.types.is_string(field.type):
            sizes.append(f"coalesce(strlen({name}), 0) + 5")
        elif pa.types.is_list(field.type):
            size = f"list_sum(list_transform({name}, lambda one: coalesce(strlen(one), 0) + 5))"
            sizes.append(f"coalesce({size}, 0) + 5")
        else:
            sizes.append(str(field.type.bit_width // 8))
    [rows, size] = database.execute(
        f"select count(*), coalesce(sum({' + '.join(sizes)}), 0) from {query}"
    ).fetchone() or (0, 0)
    if size > room.memory_mb * _MB * ANSWER_PART:
        raise BotDatabaseError(
            f"{path}: its answer of {rows:,} rows has {size // _MB:,} MB, and the limit is "
            f"{int(room.memory_mb * ANSWER_PART):,} MB: {MORE_MEMORY}"
        )


def _check_columns(path: Path, names: list[str], wanted: list[str]) -> None:
    lacking = [name for name in wanted if name not in names]
    extra = [name for name in names if name not in wanted]
    if lacking or extra:
        found = "; ".join(
            f"{what} {', '.join(some)}"
            for what, some in (("lacks", lacking), ("adds", extra))
            if some
        )
        raise BotDatabaseError(f"{path} {found}: select exactly {', '.join(wanted)}")


def _reading(path: Path, query: str, field: pa.Field, given: str) -> str:
    """Return the expression that reads a column as the contract's type.

    It yields null for a value that it cannot read; `_check_readable` finds these. Raises
    BotDatabaseError for a type that cannot be read.
    """
    if field.type == _MONEY:
        if given not in _EXACT_TYPES:
            remedy = "cast it to decimal(38, 18), or give it as exact_product(…)"
            raise BotDatabaseError(f"{path}: {field.name} is {given}, which is not exact: {remedy}")
        return _reading_of_number(
            quoted(field.name), is_rounded=query == "trades" and field.name in _ROUNDED
        )
    if field.type == _TIME:
        return _reading_of_time(path, field.name, given)
    if pa.types.is_list(field.type):
        if given not in {"list", "null"}:
            raise BotDatabaseError(
                f"{path}: {field.name} is {given}: give a list of varchar, or null"
            )
        return f"{quoted(field.name)}::varchar[]"
    return f"{quoted(field.name)}::varchar"


def _reading_of_number(name: str, *, is_rounded: bool) -> str:
    as_it_is = f"exact({name}::varchar)"
    if not is_rounded:
        return as_it_is
    text = f"trim({name}::varchar)"
    as_rounded = f"case when regexp_full_match({text}, '{NUMBER}') then exact_product({text}) end"
    return f"coalesce({as_it_is}, {as_rounded})"


def _reading_of_time(path: Path, column: str, given: str) -> str:
    name = quoted(column)
    if given == "varchar":
        instant = f"timezone('UTC', try_cast({name} as timestamptz))"
        return f"case when regexp_full_match({name}, '{_INSTANT}') then {instant} end"
    if given == "timestamp with time zone":
        return f"case when isfinite({name}) then timezone('UTC', {name}) end"
    if given in _NAIVE_TYPES:
        return f"case when isfinite({name}::timestamp) then {name}::timestamp end"
    remedy = "give it as epoch_ms(…) or to_timestamp(…) where it is a number"
    raise BotDatabaseError(f"{path}: {column} is {given}, which is not a point in time: {remedy}")


def _check_readable(
    database: duckdb.DuckDBPyConnection, path: Path, given: str, readings: Mapping[str, str]
) -> None:
    """Raise BotDatabaseError for the first column with a value that cannot be read."""
    unread = []
    for name, reading in readings.items():
        text = f"{quoted(name)}::varchar"
        is_unread = f"coalesce(trim({text}), '') <> '' and ({reading}) is null"
        unread.append(f"first({text}) filter ({is_unread})")
    found = database.execute(f"select {', '.join(unread)} from {given}").fetchone() or ()
    for name, value in zip(readings, found, strict=True):
        if value is not None:
            what = "a number that decimal(38, 18) holds, nor a point in time"
            shown = _clipped(repr(value))
            raise BotDatabaseError(f"{path}: {name} holds {shown}, which is neither {what}")


def _rows(database: duckdb.DuckDBPyConnection, query: str) -> pa.RecordBatchReader:
    rows = database.sql(f"from {query} order by {', '.join(KEYS[query])}").to_arrow_reader()
    wanted = ANSWERS[query]
    batches = (
        batch for read in rows for batch in pa.Table.from_batches([read]).cast(wanted).to_batches()
    )
    return pa.RecordBatchReader.from_batches(wanted, batches)


def _problems(database: duckdb.DuckDBPyConnection, query: str) -> list[tuple[str | None, str]]:
    """Return key and reason of each row that lacks a required value or has a duplicate key."""
    key, shown = ", ".join(KEYS[query]), KEYS[query][-1]
    checks = [(f"{name} is null", f"{quoted(name)} is null") for name in _NEEDED[query]]
    if sides := _SIDES.get(query):
        checks.append((f"side is neither {' nor '.join(sides)}", f"(side in {sides}) is not true"))
    checks.append((f"{key} is not unique: another row has it too", "same > 1"))
    counted = f"select *, count(*) over (partition by {key}) as same from {query}"
    return [
        (found, reason)
        for reason, condition in checks
        for (found,) in database.execute(
            f"select left({shown}, {_SHOWN}) from ({counted}) where {condition} "
            f"order by 1 limit {MAX_PROBLEMS}"
        ).fetchall()
    ]


@contextmanager
def _blaming(subject: object, room: Room) -> Iterator[None]:
    """Raise an error of DuckDB in the block as a BotDatabaseError that names the file or table."""
    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        if "max_temp_directory_size" in str(error):
            limit = f"disk space than its limit of {room.memory_mb * _SPILL_TIMES:,} MB"
        else:
            limit = f"memory than its limit of {room.memory_mb:,} MB"
        raise BotDatabaseError(f"{subject} needs more {limit}: {MORE_MEMORY}") from error
    except duckdb.Error as error:
        raise BotDatabaseError(f"{subject}: {_gist(error)}") from error


def _gist(error: Exception) -> str:
    return _clipped(" ".join(str(error).split("\n\n")[0].splitlines()[:2]))


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
