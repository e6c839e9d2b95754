"""The tables of a private copy of a bot's SQLite database, as Arrow text and DuckDB types.

SQLite keeps a class with each value, whatever the declaration of its column. Arrow keeps one type
per column. So the classes in each column of a table are determined first. Then ADBC reads the table
with one expression for each class of a column, and the parts are combined as text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from connectors.bot_databases.arrow_text import (
    MAX_DIGITS,
    Digits,
    floats_text,
    integers_text,
    lenient_utf8,
)
from connectors.bot_databases.meter import NULL_BYTES, Meter
from connectors.bot_databases.snapshot import TableRows, UnreadableError
from recon.core.sql_names import quoted
from recon.errors import BotDatabaseError, closing

_BATCH_ROWS = 16_384
_LENGTHS_AT_ONCE = 500
"""The columns that are measured together: SQLite returns at most 2,000 values per row."""
_COLUMNS_AT_ONCE = 6
"""The columns whose classes are determined together: at most 5^6 combinations to keep."""
_ROWIDS = ("rowid", "_rowid_", "oid")

ArrowType = Literal["integer", "float", "text"]
_FIRST_VALUE: dict[ArrowType, str] = {"integer": "0", "float": "0.0", "text": "''"}


@dataclass(frozen=True, slots=True)
class _Part:
    """The values of one column with one Arrow type, as an SQL expression; null for the others."""

    type: ArrowType
    expression: str


@dataclass(slots=True)
class _Column:
    """One column: its declaration, and the classes of its values."""

    name: str
    declared: str
    classes: set[str] = field(default_factory=set)
    is_boolean: bool = False
    digits: Digits = field(default_factory=Digits)

    @property
    def length(self) -> str:
        """Return the SQL of the bytes that a value other than a number has as text."""
        name = quoted(self.name)
        in_bytes = (
            f"when 'text' then length(cast({name} as blob)) when 'blob' then 2 * length({name})"
        )
        return f"case typeof({name}) {in_bytes} else 0 end"

    def parts(self) -> list[_Part]:
        """Return the expressions that together select all values, each in a type that holds it."""
        name = quoted(self.name)
        plain: dict[str, ArrowType] = {"integer": "integer", "real": "float", "text": "text"}
        if len(self.classes) == 1 and (only := next(iter(self.classes))) in plain:
            return [_Part(plain[only], name)]
        parts = [
            _Part(plain[one], f"case typeof({name}) when '{one}' then {name} end")
            for one in ("integer", "real")
            if one in self.classes
        ]
        if self.classes & {"text", "blob"}:
            hexadecimal = f"when 'blob' then lower(hex({name}))"
            choice = f"case typeof({name}) when 'text' then {name} {hexadecimal} end"
            parts.append(_Part("text", choice))
        return parts

    def duckdb_type(self) -> str:
        """Return the narrowest DuckDB type that holds every value exactly.

        A number is never a DOUBLE. It is BIGINT or DECIMAL, or text if its digits fit neither.
        """
        is_number = bool(self.classes & {"integer", "real"})
        if "text" in self.classes or ("blob" in self.classes and is_number):
            return "VARCHAR"
        if "blob" in self.classes:
            return "BLOB"
        if "real" in self.classes:
            return self.digits.duckdb_type()
        if "BOOL" in self.declared.upper() and (self.is_boolean or not is_number):
            return "BOOLEAN"
        return "BIGINT" if is_number else self._declared_type()

    def _declared_type(self) -> str:
        """Return the type of a column without values, by its declaration."""
        declared = self.declared.upper()
        if "INT" in declared:
            return "BIGINT"
        if any(word in declared for word in ("REAL", "FLOA", "DOUB", "NUM", "DEC")):
            return f"DECIMAL({MAX_DIGITS},18)"
        return "VARCHAR"


def table_names(database: sqlite3.Connection) -> list[str]:
    """Return the names of the real tables: neither SQLite's own, nor views, nor virtual tables."""
    found = database.execute(
        "select name from sqlite_master where type = 'table'"
        r" and name not like 'sqlite\_%' escape '\'"
        " and sql not like 'create virtual table%' order by name"
    ).fetchall()
    return [str(name) for (name,) in found]


def column_names(database: sqlite3.Connection, table: str) -> list[str]:
    """Return the names of a table's columns in their order, generated ones included.

    A name that is not UTF-8 is left out: no query can contain it.
    """
    return [name for name, _, _ in _declared(database, table) if name is not None]


def _declared(database: sqlite3.Connection, table: str) -> list[tuple[str | None, str, int]]:
    """Return each column's name (None if it is not UTF-8), type and place in the primary key."""
    found = database.execute(
        "select cast(name as blob), type, pk from pragma_table_xinfo(?) where hidden <> 1", (table,)
    )
    return [(_utf8(name), str(kind), place) for name, kind, place in found]


def _utf8(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def has_lasting_ids(database: sqlite3.Connection, table: str) -> bool:
    """Return whether the ids of a table's rows are the bot's own, and so never change.

    A VACUUM may change a rowid that is not a column of the table.
    """
    is_keyed = database.execute("select 1 from pragma_table_xinfo(?) where pk > 0", (table,))
    if is_keyed.fetchone() is None:
        return False
    key, _ = _key(database, table)
    by_index = "select 1 from pragma_index_list(?) where origin = 'pk'"
    return key not in _ROWIDS or database.execute(by_index, (table,)).fetchone() is None


def read_table(
    database: sqlite3.Connection, copy: Path, table: str, *, meter: Meter, where: str = "1"
) -> TableRows:
    """Return a table, or its rows `where` an SQL condition holds, from the file `copy`.

    `database` is a connection to the same file. Raises sqlite3.Error if the file cannot be read,
    and BotDatabaseError for an invalid value or key and for more than `meter` allows.
    """
    key, key_type = _key(database, table)
    meter.columns(f"table {table}", len(column_names(database, table)))
    columns = _look_over(database, table)
    _measure(database, table, columns, meter, where)
    parts = [part for column in columns for part in column.parts()]
    # ADBC infers types from the first row. This row has the wanted types, and is dropped.
    types = [key_type, *(part.type for part in parts)]
    first = ", ".join(f"{_FIRST_VALUE[one]} as c{n}" for n, one in enumerate(types))
    chosen = ", ".join([key, *(part.expression for part in parts)])
    # No index is used: an index may be broken although the table is not.
    query = (
        f"select {first} union all select {chosen} from {quoted(table)} not indexed where {where}"
    )
    read = _Reading(meter, table, columns)
    batches = [read.texts(batch) for batch in _batches(copy, query)]
    names = ["id", *(column.name for column in columns)]
    schema = pa.schema([(name, pa.string()) for name in names])
    rows = pa.Table.from_batches(
        [pa.RecordBatch.from_arrays(batch, schema=schema) for batch in batches], schema=schema
    )
    return TableRows(rows, [(column.name, column.duckdb_type()) for column in columns])


@dataclass(frozen=True, slots=True)
class _Reading:
    """The conversion of a table's batches to text. An infinite number is an error."""

    meter: Meter
    table: str
    columns: Sequence[_Column]

    def texts(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """Return the text of the key and of each column, its parts combined."""
        arrays = iter(batch.columns)
        ids = _text(next(arrays), Digits())
        self.meter.hold(ids.nbytes)
        found = [ids]
        for column in self.columns:
            parts = [next(arrays) for _ in column.parts()]
            for part in parts:
                self._refuse_infinite(column, part, ids)
            texts = [_text(part, column.digits) for part in parts]
            text = pc.coalesce(*texts) if texts else pa.nulls(len(ids), pa.string())
            self.meter.hold(text.nbytes)
            found.append(text)
        return found

    def _refuse_infinite(self, column: _Column, values: pa.Array, ids: pa.Array) -> None:
        if not pa.types.is_floating(values.type):
            return
        infinite = ids.filter(pc.is_inf(values))
        if len(infinite):
            where = f"table {self.table}, column {column.name}, row {infinite[0]}"
            what = f"holds an infinite number ({where})"
            raise UnreadableError(self.meter.source, what, "correct that row")


def _text(values: pa.Array, digits: Digits) -> pa.Array:
    if pa.types.is_integer(values.type):
        return integers_text(values, digits)
    if pa.types.is_floating(values.type):
        return floats_text(values, digits)
    return lenient_utf8(values)


def _batches(copy: Path, query: str) -> Iterator[pa.RecordBatch]:
    """Yield the result of a query without its first row."""
    import adbc_driver_manager as adbc
    from adbc_driver_sqlite import dbapi

    uri = f"file:{quote(str(copy.absolute()))}?mode=ro"
    try:
        with (
            closing(dbapi.connect(uri, autocommit=True)) as database,
            closing(database.cursor()) as rows,
        ):
            rows.execute("pragma trusted_schema = off")
            size = {"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)}
            rows.adbc_statement.set_options(**size)
            rows.execute(query)
            with rows.fetch_record_batch() as reader:
                is_first = True
                for batch in reader:
                    yield batch.slice(1) if is_first else batch
                    is_first = False
    except adbc.Error as error:
        raise sqlite3.DatabaseError(" ".join(str(error).split())) from error


def _look_over(database: sqlite3.Connection, table: str) -> list[_Column]:
    """Return a table's columns with the classes of all their values."""
    columns = [
        _Column(name, kind) for name, kind, _ in _declared(database, table) if name is not None
    ]
    rows = f"from {quoted(table)} not indexed"
    for begin in range(0, len(columns), _COLUMNS_AT_ONCE):
        some = columns[begin : begin + _COLUMNS_AT_ONCE]
        classes = ", ".join(f"typeof({quoted(one.name)})" for one in some)
        for found in database.execute(f"select distinct {classes} {rows}"):
            for column, one in zip(some, found, strict=True):
                column.classes |= {one} - {"null"}
    for column in columns:
        if "BOOL" in column.declared.upper() and column.classes == {"integer"}:
            name = quoted(column.name)
            ((least, most),) = database.execute(f"select min({name}), max({name}) {rows}")
            column.is_boolean = 0 <= least <= most <= 1
    return columns


def _measure(
    database: sqlite3.Connection, table: str, columns: Sequence[_Column], meter: Meter, where: str
) -> None:
    """Raise UnreadableError for rows that exceed a limit, before they are read."""
    texts = [column for column in columns if column.classes & {"text", "blob"}]
    place = f"from {quoted(table)} not indexed where {where}"
    ((count,),) = database.execute(f"select count(*) {place}")
    meter.rows(f"table {table}", count)
    total = count * NULL_BYTES * (1 + len(columns))
    for begin in range(0, len(texts), _LENGTHS_AT_ONCE):
        some = texts[begin : begin + _LENGTHS_AT_ONCE]
        lengths = (f"max({one.length}), sum({one.length})" for one in some)
        (found,) = database.execute(f"select {', '.join(lengths)} {place}")
        for column, longest in zip(some, found[::2], strict=True):
            meter.value(f"table {table}, column {column.name}", longest or 0)
        total += sum(one or 0 for one in found[1::2])
    meter.has_room(total)


def _key(database: sqlite3.Connection, table: str) -> tuple[str, ArrowType]:
    """Return the expression of the table's row ids: its rowid, else its primary key."""
    declared = _declared(database, table)
    taken = {name.lower() for name, _, _ in declared if name is not None}
    for name in _ROWIDS:
        if name not in taken and _has_rowid(database, table, name):
            return name, "integer"
    primary = sorted((place, name or "") for name, _, place in declared if place > 0)
    if not primary:
        raise BotDatabaseError(
            f"table {table} hides its rowid and has no primary key: rename a column"
        )
    if not all(name for _, name in primary):
        raise BotDatabaseError(f"table {table} has a key column whose name is not UTF-8: rename it")
    # As SQL literals, so that 1 and '1', or ('a,b', 'c') and ('a', 'b,c'), stay different.
    return " || ',' || ".join(f"quote({quoted(name)})" for _, name in primary), "text"


def _has_rowid(database: sqlite3.Connection, table: str, name: str) -> bool:
    try:
        database.execute(f"select {name} from {quoted(table)} limit 0")
    except sqlite3.OperationalError:
        return False  # a WITHOUT ROWID table
    return True
