"""From evidence to numbers: staging, lots, PnL, proofs and breaks, in the order of `sql/`.

Everything here can be rebuilt from the audit log and the configuration alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from recon.books import ANSWERS, BooksTables
from recon.config import Account as AccountSettings
from recon.config import Bot, OkxAccount
from recon.domain import Window
from recon.errors import IdentityError
from recon.exact import PLACES, from_units
from recon.identifiers import quoted
from recon.lots import Method
from recon.realise import Event, OpenLots, Row, realise
from recon.sessions import Calendar
from recon.warehouse import Warehouse

MONEY = pa.decimal128(38, PLACES)
TOO_LARGE = 10**38
TIME = pa.timestamp("us")
REALISED = pa.schema(
    [
        ("account", pa.string()), ("scope", pa.string()), ("bot", pa.string()),
        ("instrument", pa.string()), ("position_side", pa.string()), ("kind", pa.string()),
        ("event_id", pa.string()), ("at", TIME), ("session_date", pa.date32()),
        ("closed_qty", MONEY), ("gross", MONEY), ("fees", MONEY), ("funding", MONEY),
        ("other", MONEY), ("carried", MONEY),
    ]
)  # fmt: skip
OPEN = pa.schema(
    [
        ("account", pa.string()), ("scope", pa.string()), ("bot", pa.string()),
        ("instrument", pa.string()), ("position_side", pa.string()), ("is_inverse", pa.bool_()),
        ("multiplier", MONEY), ("qty", MONEY), ("cost", MONEY), ("rate", MONEY),
    ]
)  # fmt: skip


def configure(
    warehouse: Warehouse,
    accounts: Sequence[tuple[AccountSettings, Window, Calendar]],
    bots: Sequence[Bot],
    now: datetime,
) -> None:
    """Write what the queries need to know of the configuration: schema `config`."""
    warehouse.store("config", "accounts", _accounts(accounts))
    warehouse.store("config", "sessions", _sessions(accounts, now))
    warehouse.store(
        "config",
        "instrument_types",
        _table(
            ("account", "instrument_type"),
            [
                (account.id, kind)
                for account, _, _ in accounts
                if isinstance(account, OkxAccount)
                for kind in account.instrument_types
            ],
        ),
    )
    warehouse.store(
        "config",
        "bots",
        _table(
            ("bot", "account", "order_tag"),
            [(bot.id, bot.account, bot.order_tag) for bot in bots],
        ),
    )
    warehouse.store(
        "config",
        "owners",
        _table(
            ("account", "instrument", "bot"),
            [(bot.account, name, bot.id) for bot in bots for name in bot.instruments],
        ),
    )


def store_books(warehouse: Warehouse, books: Mapping[str, BooksTables]) -> None:
    """Write what each bot's mapping gave: schema `books`. A bot that is absent was not readable."""
    warehouse.store("books", "readable", _table(("bot",), [(bot,) for bot in books]))
    for name, schema in ANSWERS.items():
        tables = [
            table.append_column("bot", pa.array([bot] * table.num_rows, pa.string()))
            for bot, answers in books.items()
            if (table := getattr(answers, name)) is not None
        ]
        empty = schema.append(pa.field("bot", pa.string())).empty_table()
        warehouse.store("books", name, pa.concat_tables([empty, *tables]))


def build(warehouse: Warehouse, methods: Mapping[str, Method]) -> None:
    """Build everything after raw. Raises IdentityError where an audit finds a row."""
    warehouse.build("staging")
    warehouse.build("lots")
    _run_lots(warehouse, methods)
    warehouse.build("pnl")
    warehouse.build("proofs")
    warehouse.build("breaks")
    _audit(warehouse)


def _run_lots(warehouse: Warehouse, methods: Mapping[str, Method]) -> None:
    """Feed `lots.events` to the lots program; write `lots.realised` and `lots.open`."""
    columns = ", ".join(map(quoted, Event._fields))
    events = (
        Event(*row)
        for row in warehouse.rows_in_order(
            f"select {columns} from lots.events e "
            "order by e.account, e.instrument, e.at, e.seq, e.event_id"
        )
    )
    realised: list[Row] = []
    still_open: list[OpenLots] = []
    for item in realise(events, methods):
        if isinstance(item, Row):
            realised.append(item)
        else:
            still_open.append(item)
    warehouse.store("lots", "realised", _from_units(realised, REALISED))
    warehouse.store("lots", "open", _from_units(still_open, OPEN))


def _audit(warehouse: Warehouse) -> None:
    """Run every check of `sql/audits`: each returns the rows that are wrong."""
    for name, query in warehouse.queries("audits"):
        if rows := warehouse.rows(query):
            raise IdentityError(f"audit {name} found {len(rows)} wrong rows, the first: {rows[0]}")


def _accounts(accounts: Sequence[tuple[AccountSettings, Window, Calendar]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "account": account.id,
                "venue": account.venue,
                "currency": account.currency,
                "is_by_trade_date": account.calendar is not None,
                "first_date": window.first.date,
                "last_date": window.last.date,
                "window_start": window.start.replace(tzinfo=None),
                "window_end": window.end.replace(tzinfo=None),
            }
            for account, window, _ in accounts
        ],
        schema=pa.schema(
            [
                ("account", pa.string()),
                ("venue", pa.string()),
                ("currency", pa.string()),
                ("lots", pa.string()),
                ("is_by_trade_date", pa.bool_()),
                ("first_date", pa.date32()),
                ("last_date", pa.date32()),
                ("window_start", TIME),
                ("window_end", TIME),
            ]
        ),
    )


def _sessions(
    accounts: Sequence[tuple[AccountSettings, Window, Calendar]], now: datetime
) -> pa.Table:
    """Return every session of each account, from its window's first through the one of `now`."""
    rows = []
    for account, window, calendar in accounts:
        session = window.first
        last = calendar.session_of(max(now, window.last.start.astimezone(UTC)))
        while session.date <= last.date:
            rows.append(
                {
                    "account": account.id,
                    "session_date": session.date,
                    "start_at": session.start.replace(tzinfo=None),
                    "end_at": session.end.replace(tzinfo=None),
                }
            )
            session = calendar.session_on_or_after(session.date + timedelta(days=1))
    return pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            [
                ("account", pa.string()),
                ("session_date", pa.date32()),
                ("start_at", TIME),
                ("end_at", TIME),
            ]
        ),
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> pa.Table:
    """Return a table of text columns."""
    return pa.Table.from_pylist(
        [dict(zip(columns, row, strict=True)) for row in rows],
        schema=pa.schema([(name, pa.string()) for name in columns]),
    )


def _shown(units: int) -> Decimal | None:
    """Return what a money column can hold, or nothing: too large is unknown, and never cut off."""
    return from_units(units) if abs(units) < TOO_LARGE else None


def _from_units(rows: Sequence[Row | OpenLots], schema: pa.Schema) -> pa.Table:
    """Return rows as a table; whole numbers in a money column are units of 10^-18."""

    def column(name: str) -> list[Any]:
        values = [getattr(row, name) for row in rows]
        if schema.field(name).type != MONEY:
            return values
        return [_shown(value) if isinstance(value, int) else value for value in values]

    return pa.table({name: column(name) for name in schema.names}, schema=schema)
