"""Run a mapping over the snapshot of a bot database: the bot's trades, fills and positions.

A mapping is a folder of queries, each a single `select` over the schema `bot`, with the macros of
`sql/macros.sql` and the functions of `sql_functions.py`. A process with limits of memory and time
runs them (`mapping_process.py`).
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from recon.bot_databases.mapping_process import EndedBy, run_mapping
from recon.bot_databases.mapping_queries import MAX_DIGITS, MORE_MEMORY, SEALED, loadable, places
from recon.bot_databases.mappings import BooksMapping, Schema, Variant, query_text
from recon.core.limits import Limits
from recon.core.records import Coverage, Record, Table
from recon.core.sql_names import quoted
from recon.errors import BotDatabaseError, afterwards, closing
from recon.system.bounded_process import OUT_OF_MEMORY


@dataclass(frozen=True, slots=True)
class MappingLimits:
    """The limits of one mapping, and the folder in which its private spill folder is created.

    One answer may use half of the memory; the spill folder may use eight times the memory. Without
    `scratch`, the spill folder is in the system's folder for temporary files.
    """

    time_s: float = Limits().mapping_time_s
    memory_mb: int = Limits().mapping_memory_mb
    scratch: Path | None = None


DEFAULT_LIMITS = MappingLimits()


@dataclass(frozen=True, slots=True)
class Problem:
    """An invalid row of an answer: the query, the row's key, and the reason."""

    query: str
    key: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class MappingAnswers:
    """A bot's trades, fills and positions. None if the mapping lacks the query."""

    variant: Path
    trades: pa.Table
    fills: pa.Table | None
    positions: pa.Table | None
    problems: tuple[Problem, ...]


Read = Callable[[str, str], pa.Table]
"""Returns the stored records of one kind: `select <what> from …`, with a column `payload`."""


def unpack(
    items: Iterable[Record | Table | Coverage],
) -> tuple[dict[str, list[tuple[str, str]]], dict[str, pa.Table]]:
    """Return the schema and the tables (all text) of one fetch."""
    schema: dict[str, list[tuple[str, str]]] = {}
    tables: dict[str, pa.Table] = {}
    for item in items:
        if isinstance(item, Table):
            fields = range(1, item.batches.num_columns)
            tables[item.kind.removeprefix("table:")] = item.batches.select(fields)
        elif isinstance(item, Record):
            schema[item.id] = columns_of(item.payload)
    if unknown := tables.keys() - schema.keys():
        raise BotDatabaseError(
            f"the snapshot lacks the columns of {', '.join(sorted(unknown))}: run recon again"
        )
    return schema, tables


def unpack_stored(
    schemas: Iterable[tuple[str, str]], read: Read
) -> tuple[dict[str, list[tuple[str, str]]], dict[str, pa.Table]]:
    """Return the schema and the tables (all text) of the records in the warehouse.

    `schemas` are the ids and payloads of kind `schema`. A payload of kind `table:<name>` is a JSON
    object of text, which DuckDB parses in `read`. The rows may come from many runs, so a decimal
    has as many places as all rows together need.
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
    """Return the schema and the tables of the same rows as `unpack`, before they changed.

    `stood` holds the kind, the id and the earlier payload (null: none) of each changed record.
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
    with closing(duckdb.connect(":memory:", config=SEALED)) as database:
        database.register("records", records)
        rows = database.sql(f"select {_fields(columns)} from records").to_arrow_table()
    return rows.rename_columns([name for name, _ in columns])


def columns_of(payload: str) -> list[tuple[str, str]]:
    """Return the columns in the payload of a record of kind `schema`: names and DuckDB types."""
    return [(name, duckdb_type) for name, duckdb_type in json.loads(payload)["columns"]]


def _fields(columns: Sequence[tuple[str, str]]) -> str:
    """Return the SQL that selects each column's text from a payload, in the columns' order."""
    structure = json.dumps({name: "VARCHAR" for name, _ in columns}, ensure_ascii=False)
    literal = structure.replace("'", "''")
    return f"unnest(json_transform(payload, '{literal}'))"


def _fitted(columns: Sequence[tuple[str, str]], rows: pa.Table) -> list[tuple[str, str]]:
    """Return the columns, their decimals with as many places as the rows need.

    A column is text if its rows together need more digits than a decimal has.
    """
    decimals = [name for name, duckdb_type in columns if duckdb_type.startswith("DECIMAL")]
    if not decimals:
        return list(columns)
    digits = ", ".join(
        f"max(length(ltrim(split_part(ltrim({name}, '-'), '.', 1), '0'))), max({places(name)})"
        for name in map(quoted, decimals)
    )
    with closing(duckdb.connect(":memory:", config=SEALED)) as database:
        database.register("incoming", rows)
        found = database.execute(f"select {digits} from incoming").fetchone() or ()
    fitted = dict(columns)
    for name, whole, fraction in zip(decimals, found[::2], found[1::2], strict=True):
        if whole is not None:
            fits = whole + fraction <= MAX_DIGITS
            fitted[name] = f"DECIMAL({MAX_DIGITS},{fraction})" if fits else "VARCHAR"
    return list(fitted.items())


def read_books(
    mapping: BooksMapping,
    schema: Schema,
    tables: Mapping[str, pa.Table],
    *,
    limits: MappingLimits = DEFAULT_LIMITS,
) -> MappingAnswers:
    """Return the answers of `mapping` over a snapshot; `tables` are text, typed by `schema`.

    Invalid rows stay in the answer, and its problems name them. Raises BotDatabaseError for a query
    that breaks the rules of mappings, cannot be run, does not answer with the contract's columns,
    or exceeds `limits`.
    """
    variant = mapping.choose(schema)
    with _spill_folder(limits.scratch) as spill:
        job = {
            "schema": {name: list(columns) for name, columns in schema.items()},
            "optional": {name: sorted(columns) for name, columns in variant.optional.items()},
            "queries": {
                name: (str(path), query_text(path)) for name, path in variant.queries.items()
            },
            "time_s": limits.time_s,
            "memory_mb": limits.memory_mb,
            "spill": str(spill),
        }
        loaded = [
            tables[name].select([column for column, _ in columns])
            for name, columns in loadable(schema).items()
        ]
        try:
            answers = run_mapping(job, loaded)
        except EndedBy as end:
            raise _ended(variant, end, limits) from end
    return MappingAnswers(
        variant=variant.folder,
        trades=answers["trades"].rows,
        fills=answers["fills"].rows if "fills" in answers else None,
        positions=answers["positions"].rows if "positions" in answers else None,
        problems=tuple(
            Problem(query, key, reason)
            for query, answer in answers.items()
            for key, reason in answer.problems
        ),
    )


def _ended(variant: Variant, end: EndedBy, limits: MappingLimits) -> BotDatabaseError:
    """Return the error for a query that ended the process that ran it."""
    path = variant.queries[end.query]
    if end.end.status == -signal.SIGALRM:
        return BotDatabaseError(
            f"{path} took longer than {limits.time_s:g} s and was stopped: join its tables on "
            "keys, or raise mapping_time_s under [recon.limits]"
        )
    if end.end.status == OUT_OF_MEMORY:
        return BotDatabaseError(
            f"{path} needs more memory than its limit of {limits.memory_mb:,} MB: {MORE_MEMORY}"
        )
    return BotDatabaseError(
        f"{path} ended the process that ran it ({end.end.how}): simplify its query, or "
        f"{MORE_MEMORY}"
    )


@contextmanager
def _spill_folder(scratch: Path | None) -> Iterator[Path]:
    """Yield a private empty folder, and delete it and its content afterwards."""
    try:
        if scratch is not None:
            scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = tempfile.TemporaryDirectory(prefix="mapping-", dir=scratch)
    except OSError as error:
        place = scratch or Path(tempfile.gettempdir())
        raise BotDatabaseError(
            f"{place}: the spill folder of a mapping cannot be created ({error.strerror}): allow "
            "recon to write there"
        ) from error
    with afterwards(private.cleanup):
        yield Path(private.name)
