"""Compute the lots of changed instruments, from the first changed session on.

The state of books and lots after each session is stored as changes: a state holds from its session
until the next session that changed it. So a run starts from the open lots, and a late fill from
those that were open then. Both kernels return the same rows: the plain one is the definition, the
compiled one is for volume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, NamedTuple

import pyarrow as pa

from recon.core.numbers import PLACES, from_units, to_units
from recon.core.records import Method
from recon.core.sql_names import quoted
from recon.lots.realise import (
    Bystander,
    ClosingBook,
    ClosingLot,
    Event,
    Key,
    Opening,
    SessionPnl,
    realise,
)
from recon.warehouse.database import Warehouse

WORTH_COMPILING = 20_000
"""The number of events from which the compiled kernel is used, if it is installed. Its load time
pays from about half as many (see benchmarks/)."""
MONEY = pa.decimal128(38, PLACES)
TOO_LARGE = 10**38
DAY = pa.date32()
FOREVER = date(9999, 12, 31)
"""The end of the state of a book or a lot that no later session has changed."""
KEY = [("account", pa.string()), ("instrument", pa.string())]
OWNER = [("scope", pa.string()), ("bot", pa.string())]
REALISED = pa.schema(
    [
        *KEY,
        *OWNER,
        ("session_date", DAY),
        ("fills", pa.int64()),
        ("closed_qty", MONEY),
        ("gross", MONEY),
        ("fees", MONEY),
        ("funding", MONEY),
        ("other", MONEY),
        ("open_costs", MONEY),
        ("closed_lots", pa.int64()),
    ]
)
BOOKS = pa.schema(
    [
        *KEY,
        ("book", pa.int32()),
        *OWNER,
        ("position_side", pa.string()),
        ("session_date", DAY),
        ("qty", MONEY),
        ("cost", MONEY),
        ("funding", MONEY),
        ("first_lot", pa.int64()),
        ("is_inverse", pa.bool_()),
        ("multiplier", MONEY),
        ("rate", MONEY),
        ("is_valued", pa.bool_()),
    ]
)
LOTS = pa.schema(
    [
        *KEY,
        ("book", pa.int32()),
        ("lot", pa.int64()),
        ("session_date", DAY),
        ("qty", MONEY),
        ("value", MONEY),
        ("fee", MONEY),
        ("consumed", MONEY),
    ]
)
BYSTANDERS = pa.schema(
    [*KEY, ("bot", pa.string()), ("session_date", DAY), ("event_id", pa.string())]
)
UNTIL = pa.field("until_session", DAY)
THROUGH = pa.schema([("account", pa.string()), ("last_session", DAY)])
IN_ORDER = """
  order by e.account, coalesce(e.family, e.instrument), e.session_date, e.at,
    e.kind <> 'exercise', e.seq, e.event_id
"""
"""An exercise comes before its delivery at the same instant."""


class LotRows(NamedTuple):
    """The rows that a kernel returns, as tables with the columns of schema `lots`.

    Only the plain kernel returns bystanders.
    """

    realised: pa.Table
    books: pa.Table
    lots: pa.Table
    bystanders: pa.Table


def run_lots(warehouse: Warehouse, methods: Mapping[str, Method]) -> None:
    """Bring schema `lots` up to date. `methods` has each account's lot method."""
    for name, columns in (
        ("realised", REALISED),
        ("bystanders", BYSTANDERS),
        ("closing_books", BOOKS.append(UNTIL)),
        ("closing_lots", LOTS.append(UNTIL)),
        ("through", THROUGH),
    ):
        warehouse.keep("lots", name, columns)
    warehouse.build("affected")
    [size] = warehouse.rows("select count(*) as events from affected.events")
    if size["events"] >= WORTH_COMPILING and find_spec("numba"):
        rows = _run_compiled(warehouse, methods)
    else:
        rows = _run_plain(warehouse, methods)
    _keep(warehouse, "realised", rows.realised)
    _keep(warehouse, "bystanders", rows.bystanders)
    _keep_states(warehouse, "closing_books", rows.books, ("book",))
    _keep_states(warehouse, "closing_lots", rows.lots, ("book", "lot"))
    warehouse.run("delete from lots.through where account in (select account from affected.spans)")
    warehouse.run("insert into lots.through select account, last_session from affected.spans")


def _run_plain(
    warehouse: Warehouse, methods: Mapping[str, Method], keys: Sequence[int] | None = None
) -> LotRows:
    """Run the plain kernel over every changed instrument, or only over those with these keys."""
    columns = ", ".join(map(quoted, Event._fields))
    some = "" if keys is None else f"where key in ({', '.join(map(str, keys))})"
    events = (
        Event(*row)
        for row in warehouse.rows_in_order(
            f"select {columns} from affected.events e "
            f"semi join (from affected.keys {some}) k using (account, instrument) {IN_ORDER}"
        )
    )
    opening = _opening(warehouse)
    rows: dict[type, list[Any]] = {SessionPnl: [], ClosingBook: [], ClosingLot: [], Bystander: []}
    for item in realise(events, methods, opening, _brokers(warehouse)):
        rows[type(item)].append(item)
    return LotRows(
        _from_units(rows[SessionPnl], REALISED),
        _from_units(rows[ClosingBook], BOOKS),
        _from_units(rows[ClosingLot], LOTS),
        _from_units(rows[Bystander], BYSTANDERS),
    )


def _run_compiled(warehouse: Warehouse, methods: Mapping[str, Method]) -> LotRows:
    """Run the compiled kernel, and the plain one over the instruments that it hands over."""
    import numpy as np

    from recon.lots import compiled

    accounts = warehouse.rows("select account from affected.keys order by key")
    fifo = [methods[row["account"]] == "fifo" for row in accounts]
    opening = compiled.Opening(
        _coded(warehouse, "closing_books", compiled.BOOKS, "s.book"),
        _coded(warehouse, "closing_lots", compiled.LOTS, "s.book, s.lot"),
    )
    [(_, events)] = warehouse.queries("kernel")
    outcome = compiled.realise_compiled(
        warehouse.batches(events), np.array([fifo, fifo], np.int8).T, opening
    )
    compiled_rows = LotRows(
        _named(warehouse, outcome.realised, REALISED),
        _named(warehouse, outcome.books, BOOKS),
        _named(warehouse, outcome.lots, LOTS),
        BYSTANDERS.empty_table(),
    )
    handed_over = [*outcome.handed_over, *_not_compiled(warehouse)]
    if not handed_over:
        return compiled_rows
    plain_rows = _run_plain(warehouse, methods, handed_over)
    return LotRows(
        *(pa.concat_tables(both) for both in zip(compiled_rows, plain_rows, strict=True))
    )


def _brokers(warehouse: Warehouse) -> dict[str, Method]:
    """Return the lot method of each broker that states realised PnL, by account."""
    rows = warehouse.rows("select account, broker_lots from config.accounts")
    return {row["account"]: row["broker_lots"] for row in rows if row["broker_lots"]}


def _not_compiled(warehouse: Warehouse) -> list[int]:
    """Return the keys of instruments that only the plain kernel computes."""
    rows = warehouse.rows(
        "select key from affected.keys semi join affected.plain using (account, instrument)"
    )
    return [row["key"] for row in rows]


def _coded(warehouse: Warehouse, name: str, schema: pa.Schema, order: str) -> pa.Table:
    """Return the states before each first session, in the compiled kernel's codes."""
    codes = {
        "key": "k.key",
        "scope": "(case s.scope when 'bot' then 0 else 1 end)::tinyint",
        "bot": "coalesce(b.code, -1)::integer",
        "side": "(case s.position_side when 'long' then 1 when 'short' then 2 else 0 end)::tinyint",
    }
    columns = ", ".join(
        f"{codes.get(column, f's.{column}')} as {column}" for column in schema.names
    )
    plain = "(select account, instrument from affected.plain)"
    compiled = f"and (s.account, s.instrument) not in {plain}"
    query = f"select {columns} {_before(name)} {compiled} order by k.key, {order}"
    return warehouse.arrow(query).cast(schema)


def _named(warehouse: Warehouse, rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the compiled kernel's rows, with names in place of its codes."""
    warehouse.store("affected", "coded", rows)
    names = {
        "account": "k.account",
        "instrument": "k.instrument",
        "scope": "case c.scope when 0 then 'bot' else 'account' end",
        "bot": "b.bot",
        "position_side": "['net', 'long', 'short'][c.side + 1]",
        "closed_lots": "0",  # no broker of a compiled account states realised PnL
    }
    columns = ", ".join(
        f"{names.get(column, f'c.{column}')} as {column}" for column in schema.names
    )
    bots = "left join affected.bots b on b.code = c.bot" if "bot" in schema.names else ""
    query = f"select {columns} from affected.coded c join affected.keys k on k.key = c.key {bots}"
    return warehouse.arrow(query).cast(schema)


def _opening(warehouse: Warehouse) -> dict[Key, Opening]:
    """Return the states of the computed instruments before their first session."""
    books: dict[Key, list[ClosingBook]] = {}
    for row in _states(warehouse, "closing_books", BOOKS, "book"):
        books.setdefault(row[:2], []).append(ClosingBook(*row))
    lots: dict[Key, list[ClosingLot]] = {}
    for row in _states(warehouse, "closing_lots", LOTS, "book, lot"):
        lots.setdefault(row[:2], []).append(ClosingLot(*row))
    return {key: Opening(books[key], lots.get(key, ())) for key in books}


def _states(
    warehouse: Warehouse, name: str, schema: pa.Schema, order: str
) -> Iterator[tuple[Any, ...]]:
    """Yield the states before the first session that is computed again, in units."""
    columns = ", ".join(f"s.{quoted(column)}" for column in schema.names)
    rows = warehouse.rows_in_order(
        f"select {columns} {_before(name)} order by s.account, s.instrument, {order}"
    )
    units = [field.type == MONEY and field.name not in ("multiplier", "rate") for field in schema]
    for row in rows:
        yield tuple(
            to_units(value) if is_units else value
            for value, is_units in zip(row, units, strict=True)
        )


def _before(name: str) -> str:
    """Return the part of a query that selects the states, `s`, before each first session."""
    open_only = "and s.qty <> 0" if name == "closing_lots" else ""
    return f"""
        from lots.{name} s
        join affected.lots t on t.account = s.account and t.instrument = s.instrument
        join affected.keys k on k.account = s.account and k.instrument = s.instrument
        {"left join affected.bots b on b.bot = s.bot" if name == "closing_books" else ""}
        where s.until_session >= getvariable('lots_from')
          and s.session_date < t.from_session and s.until_session >= t.from_session {open_only}
    """


def _keep(warehouse: Warehouse, name: str, rows: pa.Table, columns: str = "*") -> None:
    """Replace the stored rows of the computed sessions with `rows`."""
    warehouse.run(
        f"""
        delete from lots.{name} k using affected.lots t
        where k.session_date >= getvariable('lots_from')
          and k.account = t.account and k.instrument = t.instrument
          and k.session_date >= t.from_session
        """
    )
    warehouse.store("affected", "fresh", rows)
    warehouse.run(f"insert into lots.{name} by name select {columns} from affected.fresh")


def _keep_states(warehouse: Warehouse, name: str, rows: pa.Table, key: Sequence[str]) -> None:
    """Store states as changes: each holds from its session until the next one of the same key.

    A state from before the first computed session holds until the first session that changed it.
    """
    names = ("account", "instrument", *key)
    by = ", ".join(names)
    until = (
        f"lead(session_date, 1, date '{FOREVER}') over (partition by {by} order by session_date)"
    )
    _keep(warehouse, name, rows, f"*, {until} as until_session")
    warehouse.run(
        f"""
        update lots.{name} k
        set until_session = coalesce(
          (select min(f.session_date) from affected.fresh f
           where {" and ".join(f"f.{column} = k.{column}" for column in names)}),
          $forever
        )
        from affected.lots t
        where t.account = k.account and t.instrument = k.instrument
          and k.until_session >= getvariable('lots_from')
          and k.session_date < t.from_session and k.until_session >= t.from_session
        """,
        {"forever": FOREVER},
    )


def _shown(units: int) -> Decimal | None:
    """Return the amount of units, or None if a money column cannot hold it: it is not truncated."""
    return from_units(units) if abs(units) < TOO_LARGE else None


def _from_units(
    rows: Sequence[SessionPnl | ClosingBook | ClosingLot | Bystander], schema: pa.Schema
) -> pa.Table:
    """Return rows as a table. Integers in a money column are units of 10^-18."""

    def column(name: str) -> list[Any]:
        values = [getattr(row, name) for row in rows]
        if schema.field(name).type != MONEY:
            return values
        return [_shown(value) if isinstance(value, int) else value for value in values]

    return pa.table({name: column(name) for name in schema.names}, schema=schema)
