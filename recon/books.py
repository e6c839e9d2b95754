"""Run a mapping over the snapshot of a bot's own books: its trades, fills and positions.

A mapping is a folder of queries, each a single `select` over the schema `bot`, with the macros of
`sql/macros.sql` and the functions of `recon/mapping_functions.py`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.func import FunctionNullHandling, PythonUDFType

from recon.domain import Coverage, Record, Table
from recon.errors import BooksError, afterwards, closing
from recon.exact import PLACES
from recon.exact_product import NUMBER
from recon.identifiers import quoted
from recon.mapping_functions import MAPPING_FUNCTIONS
from recon.mappings import BooksMapping, Columns, Schema, query_text
from recon.resources import sql_root

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
"""What each query answers with. Times are UTC, without a zone; money is in the bot's currency."""

_ROUNDED = {"entry_price", "exit_price", "gross", "fee", "funding", "pnl"}
"""The columns of trades that a mapping may work out from floats: rounded half to even to 18 places.

Everywhere else a digit past the eighteenth is refused: a quantity or a fill's price is a fact, and
a mapping that wants it rounded says so with exact_product.
"""

KEYS = {
    "trades": ("trade_id",),
    "fills": ("instrument", "fill_id"),
    "positions": ("instrument",),
}
"""What tells one row of a query's answer from the others."""

_NEEDED = {
    "trades": ("trade_id", "instrument", "closed_at", "pnl"),
    "fills": ("fill_id", "instrument", "qty", "price", "at"),
    "positions": ("instrument", "qty"),
}
_SIDES = {"trades": ("long", "short"), "fills": ("buy", "sell")}

_EXACT_TYPES = {
    "decimal", "null", "varchar",
    "tinyint", "smallint", "integer", "bigint", "hugeint",
    "utinyint", "usmallint", "uinteger", "ubigint", "uhugeint",
}  # fmt: skip
_NAIVE_TYPES = {"timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "null"}
_INSTANT = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6}0*)?)?"
    r" ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?"
)
_MAX_DIGITS = 38
_COLUMN_TYPE = re.compile(
    r"BOOLEAN|BIGINT|HUGEINT|VARCHAR|BLOB|DATE|TIMESTAMP( WITH TIME ZONE)?"
    r"|DECIMAL\(([1-9]|[12][0-9]|3[0-8]), ?([0-9]|[12][0-9]|3[0-8])\)"
)
_SEALED: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,  # a query names tables, never our variables
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}

MAPPING_LIMIT_S = 300.0
"""How long all the queries of one mapping may take together."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A row of an answer that cannot be taken as it is: which query, which row's key, and why."""

    query: str
    key: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class BooksTables:
    """What a bot's books say. A query that the mapping lacks is None, which is not "none"."""

    variant: Path
    trades: pa.Table
    fills: pa.Table | None
    positions: pa.Table | None
    problems: tuple[Problem, ...]


Read = Callable[[str, str], pa.Table]
"""Gives the stored records of one kind: `select <what> from …`, where `payload` is a record's."""


def unpack(
    items: Iterable[Record | Table | Coverage],
) -> tuple[dict[str, list[tuple[str, str]]], dict[str, pa.Table]]:
    """Return the schema and the tables (all text) of what one fetch gave."""
    schema: dict[str, list[tuple[str, str]]] = {}
    tables: dict[str, pa.Table] = {}
    for item in items:
        if isinstance(item, Table):
            fields = range(1, item.batches.num_columns)
            tables[item.kind.removeprefix("table:")] = item.batches.select(fields)
        elif isinstance(item, Record):
            schema[item.id] = columns_of(item.payload)
    if unknown := tables.keys() - schema.keys():
        raise BooksError(f"the snapshot lacks the columns of {', '.join(sorted(unknown))}")
    return schema, tables


def unpack_stored(
    schemas: Iterable[tuple[str, str]], read: Read
) -> tuple[dict[str, list[tuple[str, str]]], dict[str, pa.Table]]:
    """Return the schema and the tables (all text) of the records that are in the warehouse.

    `schemas` are the ids and payloads of kind `schema`. A payload of kind `table:<name>` is a JSON
    object of text: `read` has DuckDB take it apart. The rows may have been read on many nights, so
    a decimal's places are here those of all rows together.
    """
    schema: dict[str, list[tuple[str, str]]] = {}
    tables: dict[str, pa.Table] = {}
    for table, payload in schemas:
        columns = [column for column in columns_of(payload) if column[0]]
        if table and columns:
            rows = read(f"table:{table}", _fields(columns))
            tables[table] = rows.rename_columns([name for name, _ in columns])
            schema[table] = _fitted(columns, tables[table])
    return schema, tables


def unpack_before(
    items: Iterable[Record | Table | Coverage], stood: pa.Table
) -> tuple[dict[str, list[tuple[str, str]]], dict[str, pa.Table]]:
    """Return the schema and the tables of the same rows as `unpack`, as they stood before.

    `stood` has the kind, the id and the earlier payload (null: none) of what has changed.
    """
    items = list(items)
    schema, tables = unpack(items)
    batches = {item.kind: item.batches for item in items if isinstance(item, Table)}
    for kind, rows in batches.items():
        table = kind.removeprefix("table:")
        changed = stood.filter(pc.equal(stood["kind"], kind))
        is_same = pc.invert(pc.is_in(rows.column(0), changed["id"]))
        columns = [column for column in schema[table] if column[0]]
        earlier = _opened(changed.drop_null(), columns)
        kept = tables[table].filter(is_same).select([name for name, _ in columns])
        tables[table] = pa.concat_tables([kept, earlier.cast(kept.schema)])
        schema[table] = _fitted(columns, tables[table])
    return schema, tables


def _opened(records: pa.Table, columns: Sequence[tuple[str, str]]) -> pa.Table:
    """Return the payloads of stored rows as a table of text."""
    with closing(duckdb.connect(":memory:", config=_SEALED)) as books:
        books.register("records", records)
        rows = books.sql(f"select {_fields(columns)} from records").to_arrow_table()
    return rows.rename_columns([name for name, _ in columns])


def columns_of(payload: str) -> list[tuple[str, str]]:
    """Read the payload of a record of kind `schema`."""
    return [(name, duckdb_type) for name, duckdb_type in json.loads(payload)["columns"]]


def _fields(columns: Sequence[tuple[str, str]]) -> str:
    """Return what to select of a payload: each column's text, in their order."""
    structure = json.dumps({name: "VARCHAR" for name, _ in columns}, ensure_ascii=False)
    literal = structure.replace("'", "''")
    return f"unnest(json_transform(payload, '{literal}'))"


def _fitted(columns: Sequence[tuple[str, str]], rows: pa.Table) -> list[tuple[str, str]]:
    """Return the columns with as many places for their decimals as the rows need.

    A decimal whose rows need more digits together than a decimal has is text.
    """
    decimals = [name for name, duckdb_type in columns if duckdb_type.startswith("DECIMAL")]
    if not decimals:
        return list(columns)
    digits = ", ".join(
        f"max(length(ltrim(split_part(ltrim({name}, '-'), '.', 1), '0'))), max({_places(name)})"
        for name in map(quoted, decimals)
    )
    with closing(duckdb.connect(":memory:", config=_SEALED)) as books:
        books.register("incoming", rows)
        found = books.execute(f"select {digits} from incoming").fetchone() or ()
    fitted = dict(columns)
    for name, whole, places in zip(decimals, found[::2], found[1::2], strict=True):
        if whole is not None:
            fits = whole + places <= _MAX_DIGITS
            fitted[name] = f"DECIMAL({_MAX_DIGITS},{places})" if fits else "VARCHAR"
    return list(fitted.items())


def _places(name: str) -> str:
    return f"length(rtrim(split_part({name}, '.', 2), '0'))"


def read_books(
    mapping: BooksMapping,
    schema: Schema,
    tables: Mapping[str, pa.Table],
    *,
    limit_s: float = MAPPING_LIMIT_S,
) -> BooksTables:
    """Run `mapping` over a snapshot whose `tables` are all text, typed as `schema` says.

    Rows that cannot be taken as they are stay in the answer, and are named in its problems.
    Raises BooksError where a query cannot be run, does not answer with the contract's columns, or
    all of them together take longer than `limit_s`.
    """
    variant = mapping.choose(schema)
    answers: dict[str, pa.Table] = {}
    problems: list[Problem] = []
    with closing(duckdb.connect(":memory:", config=_SEALED)) as books, _limited(books, limit_s):
        _load(books, schema, tables, variant.optional)
        for query, path in variant.queries.items():
            _run(books, query, path)
            answers[query] = _answer(books, query)
            problems += _problems(books, query)
    return BooksTables(
        variant=variant.folder,
        trades=answers["trades"],
        fills=answers.get("fills"),
        positions=answers.get("positions"),
        problems=tuple(problems),
    )


def _load(
    books: duckdb.DuckDBPyConnection,
    schema: Schema,
    tables: Mapping[str, pa.Table],
    optional: Columns,
) -> None:
    """Fill schema `bot`, then lock the door: from here on SQL reaches no file and no setting.

    What of the `optional` columns is not there is null.
    """
    books.execute("set timezone = 'UTC'")
    books.execute("create schema bot")
    for name, function in MAPPING_FUNCTIONS.items():
        books.create_function(
            name,
            function.call,
            function.parameters,
            function.returns,
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )
    books.execute((sql_root() / "macros.sql").read_text(encoding="utf-8"))
    for table, columns in schema.items():
        # SQLite allows an empty name, which no query here can say.
        if named := [column for column in columns if table and column[0]]:
            _load_table(books, table, named, tables[table])
    for table, names in optional.items():
        place = f"bot.{quoted(table)}"
        declared = [f"{quoted(name)} varchar" for name in sorted(names)]
        books.execute(f"create table if not exists {place} ({', '.join(declared)})")
        for one in declared:
            books.execute(f"alter table {place} add column if not exists {one}")
    books.execute("set enable_external_access = false")
    books.execute("set lock_configuration = true")


def _load_table(
    books: duckdb.DuckDBPyConnection,
    table: str,
    columns: Sequence[tuple[str, str]],
    rows: pa.Table,
) -> None:
    for name, duckdb_type in columns:
        if not _COLUMN_TYPE.fullmatch(duckdb_type):
            raise BooksError(f"column {name} of table {table} has no known type: {duckdb_type}")
    chosen = ", ".join(
        f"unhex({quoted(name)}) as {quoted(name)}"
        if duckdb_type == "BLOB"
        else f"{quoted(name)}::{duckdb_type} as {quoted(name)}"
        for name, duckdb_type in columns
    )
    # A cast to a decimal rounds without a word; a digit lost here would never be missed.
    lost = " or ".join(
        f"{_places(quoted(name))} > {match[3]}"
        for name, duckdb_type in columns
        if (match := _COLUMN_TYPE.fullmatch(duckdb_type)) and match[3]
    )
    books.register("incoming", rows)
    with afterwards(lambda: books.unregister("incoming")):
        try:
            if lost and books.execute(f"select 1 from incoming where {lost} limit 1").fetchall():
                raise BooksError(
                    f"table {table} holds more digits than its columns: snapshot it again"
                )
            books.execute(f"create table bot.{quoted(table)} as select {chosen} from incoming")
        except duckdb.Error as error:
            raise BooksError(f"table {table} cannot be loaded: {_gist(error)}") from error


def _run(books: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    """Run one query, and keep its answer as table `query` with the contract's types."""
    given, wanted = f"{query}_as_given", ANSWERS[query]
    with _blaming(path):
        statements = duckdb.extract_statements(query_text(path))
        if [_kind(one) for one in statements] != [duckdb.StatementType.SELECT]:
            raise BooksError(f"{path} must be one select statement, and nothing else")
        relation = books.sql(statements[0].query)
        types = dict(zip(relation.columns, (str(one.id) for one in relation.types), strict=True))
        _check_columns(path, list(relation.columns), wanted.names)
        relation.create(given)
        readings = {field.name: _reading(path, query, field, types[field.name]) for field in wanted}
        _check_readable(books, path, given, readings)
        chosen = [f"{reading} as {quoted(name)}" for name, reading in readings.items()]
        books.execute(f"create table {query} as select {', '.join(chosen)} from {given}")


def _kind(statement: duckdb.Statement) -> duckdb.StatementType | None:
    """Return a statement's type; None for a type that duckdb's Python has no name for."""
    try:
        return statement.type
    except ValueError:
        return None


def _check_columns(path: Path, names: list[str], wanted: list[str]) -> None:
    lacking = [name for name in wanted if name not in names]
    extra = [name for name in names if name not in wanted]
    if lacking or extra:
        found = "; ".join(
            f"{what} {', '.join(some)}"
            for what, some in (("lacks", lacking), ("adds", extra))
            if some
        )
        raise BooksError(f"{path} {found}: its columns are {', '.join(wanted)}")


def _reading(path: Path, query: str, field: pa.Field, given: str) -> str:
    """Return the expression that reads a column as the contract's type; refuse a type that cannot.

    What it cannot read of an acceptable type becomes null, for `_check_readable` to find.
    """
    if field.type == _MONEY:
        if given not in _EXACT_TYPES:
            remedy = "cast it to decimal(38, 18), or give it as exact_product(…)"
            raise BooksError(f"{path}: {field.name} is {given}, which is not exact: {remedy}")
        return _reading_of_number(
            quoted(field.name), is_rounded=query == "trades" and field.name in _ROUNDED
        )
    if field.type == _TIME:
        return _reading_of_time(path, field.name, given)
    if pa.types.is_list(field.type):
        if given not in {"list", "null"}:
            raise BooksError(f"{path}: {field.name} is {given}: give a list of varchar, or null")
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
    raise BooksError(f"{path}: {column} is {given}, which is no point in time: {remedy}")


def _check_readable(
    books: duckdb.DuckDBPyConnection, path: Path, given: str, readings: Mapping[str, str]
) -> None:
    """Refuse an answer of which a value is written and cannot be read, by its first column."""
    unread = []
    for name, reading in readings.items():
        text = f"{quoted(name)}::varchar"
        is_unread = f"coalesce(trim({text}), '') <> '' and ({reading}) is null"
        unread.append(f"first({text}) filter ({is_unread})")
    found = books.execute(f"select {', '.join(unread)} from {given}").fetchone() or ()
    for name, value in zip(readings, found, strict=True):
        if value is not None:
            what = "a number that decimal(38, 18) holds, nor a point in time"
            raise BooksError(f"{path}: {name} holds {value!r}, which is neither {what}")


def _answer(books: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    rows = books.sql(f"from {query} order by {', '.join(KEYS[query])}")
    return rows.to_arrow_table().cast(ANSWERS[query])


def _problems(books: duckdb.DuckDBPyConnection, query: str) -> list[Problem]:
    """Find the rows that lack what every row needs, or whose key is another row's, too."""
    key, shown = ", ".join(KEYS[query]), KEYS[query][-1]
    checks = [(f"{name} is null", f"{quoted(name)} is null") for name in _NEEDED[query]]
    if sides := _SIDES.get(query):
        checks.append((f"side is neither {' nor '.join(sides)}", f"(side in {sides}) is not true"))
    checks.append((f"{key} is that of another row", "same > 1"))
    counted = f"select *, count(*) over (partition by {key}) as same from {query}"
    return [
        Problem(query, found, reason)
        for reason, condition in checks
        for (found,) in books.execute(
            f"select {shown} from ({counted}) where {condition} order by 1"
        ).fetchall()
    ]


@contextmanager
def _limited(books: duckdb.DuckDBPyConnection, limit_s: float) -> Iterator[None]:
    """Interrupt whatever runs after `limit_s`: a mapping is somebody else's SQL."""
    timer = threading.Timer(limit_s, books.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Say which file of a mapping DuckDB could not run, and what it said first."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise BooksError(
            f"{path}: it took too long and was stopped: join its tables on keys"
        ) from error
    except duckdb.Error as error:
        raise BooksError(f"{path}: {_gist(error)}") from error


def _gist(error: Exception) -> str:
    return " ".join(str(error).split("\n\n")[0].splitlines()[:2])
