"""From evidence to numbers: staging, lots, PnL, proofs and breaks, in the order of `sql/`.

Every table here can be rebuilt from the audit log and the configuration alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from recon import __version__
from recon.breaks.causes.attribution import find_causes
from recon.breaks.instrument_names import keep_names
from recon.config.settings import Account as AccountSettings
from recon.config.settings import Bot, CcxtAccount, OkxAccount, SharedDatabase, TwsAccount
from recon.control.assignments import Assignment
from recon.core.calendars import Calendar
from recon.core.records import Method, Window
from recon.errors import IdentityError
from recon.system.resources import sql_root
from recon.system.timing import Stages, Timer
from recon.warehouse.database import Again, Warehouse
from recon.warehouse.lot_state import run_lots

TIME = pa.timestamp("us")
LOT_KINDS = ("funding", "interest", "dividend", "tax", "fee", "penalty")
"""Ledger entries that are PnL of a position or of the account."""
BROKER_METHODS: Mapping[str, Method] = {"ibkr-flex": "fifo"}
"""Venues that state the realised PnL of each fill, and the lot method that they use."""
QUERIES = {"okx": "okx_", "ibkr-flex": "flex_", "ibkr-tws": "tws_"}
"""The SQL prefix of each venue's queries; every other venue has `OTHERS`."""
OTHERS = "ccxt_"
RELATED = {"ibkr-flex": timedelta(days=40), "ibkr-tws": timedelta(days=8)}
"""Venues whose rows refer to earlier rows, and how far back these may be: a cancel and its trade, a
confirmation and the statement that restates it, an execution and its correction (TWS can be set to
serve a week)."""
EVERYTHING = datetime.min.replace(tzinfo=UTC)
REPORTS = {
    "by_session": pa.schema(
        [
            ("account", pa.string()),
            ("scope", pa.string()),
            ("bot", pa.string()),
            ("session_date", pa.date32()),
            ("net", pa.decimal128(38, 18)),
            ("open_costs", pa.decimal128(38, 18)),
        ]
    ),
    "through": pa.schema([("account", pa.string()), ("through", pa.date32())]),
    "since": pa.schema([("account", pa.string()), ("since", pa.date32())]),
}
"""The tables of the figures that runs have reported: schema `reports`."""
DERIVED = (
    "staging",
    "changed",
    "evidence",
    "affected",
    "lots",
    "pnl",
    "claimed",
    "restated",
    "proofs",
    "breaks",
    "causes",
)


def configure(
    warehouse: Warehouse,
    accounts: Sequence[tuple[AccountSettings, Window, Calendar]],
    bots: Sequence[Bot],
    now: datetime,
    asked_for: str | None = None,
    assignments: Iterable[Assignment] = (),
    shared: Sequence[SharedDatabase] = (),
) -> None:
    """Write the configuration that the queries read: schema `config`.

    `asked_for` is a bot whose causes are computed even if it agrees. `assignments` are those that
    hold, one for each order or fill. `shared` are all bots whose database another bot names, also
    in other accounts.
    """
    warehouse.store("config", "accounts", _accounts(accounts))
    warehouse.store("config", "sessions", _sessions(accounts, now))
    warehouse.store("config", "opening", _opening([account for account, _, _ in accounts]))
    warehouse.store("config", "lot_kinds", _table(("kind",), [(kind,) for kind in LOT_KINDS]))
    warehouse.store(
        "config",
        "tws",
        _table(
            ("account", "timezone", "confirmed_by"),
            [
                (account.id, account.timezone, account.confirmed_by)
                for account, _, _ in accounts
                if isinstance(account, TwsAccount)
            ],
        ),
    )
    warehouse.store(
        "config",
        "exchanges",
        _table(
            ("account", "exchange"),
            [(one.id, one.venue) for one, _, _ in accounts if isinstance(one, CcxtAccount)],
        ),
    )
    configure_bots(warehouse, [account for account, _, _ in accounts], bots, asked_for)
    warehouse.store("config", "databases", _databases(shared))
    warehouse.store(
        "config",
        "database_instruments",
        _table(
            ("database", "bot", "account", "instrument"),
            [
                (one.database, one.bot.id, one.bot.account, name)
                for one in shared
                for name in one.bot.instruments
            ],
        ),
    )
    warehouse.store("config", "assignments", _assignments(assignments))


def configure_bots(
    warehouse: Warehouse,
    accounts: Sequence[AccountSettings],
    bots: Sequence[Bot],
    asked_for: str | None = None,
) -> None:
    """Write the bots, their instruments, and the instrument types of their accounts."""
    warehouse.store(
        "config",
        "instrument_types",
        _table(
            ("account", "instrument_type"),
            [
                (account.id, kind)
                for account in accounts
                if isinstance(account, OkxAccount)
                for kind in account.instrument_types
            ],
        ),
    )
    warehouse.store(
        "config",
        "bots",
        _table(
            ("bot", "account", "order_tag", "costs_booked", "asked_for"),
            [(bot.id, bot.account, bot.order_tag, bot.costs_booked, asked_for) for bot in bots],
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


def build(
    warehouse: Warehouse, run: str, methods: Mapping[str, Method], stage: Timer | None = None
) -> None:
    """Bring every table after raw up to date with the evidence that `run` has landed.

    Unchanged parts stay as they are. Raises IdentityError if an audit finds a row.
    """
    stage = stage or Stages()
    rules, empty = _rules(warehouse), _without(warehouse)
    with stage("stage"):
        _stage(warehouse, run, rules, empty)
    with stage("evidence"):
        warehouse.build("changed")
        warehouse.build("evidence")
    with stage("lots"):
        run_lots(warehouse, methods)
    for name, columns in REPORTS.items():
        warehouse.keep("reports", name, columns)
    for folder in ("pnl", "claimed", "restated", "proofs", "breaks"):
        with stage(folder):
            warehouse.build(folder, empty=empty)
    with stage("causes"):
        find_causes(warehouse, methods)
    with stage("audits"):
        _audit(warehouse, empty)
    _record_fingerprints(warehouse, rules)


def record_reported(warehouse: Warehouse, accounts: Collection[str]) -> None:
    """Store the figures that this run reports for these accounts, to find later restatements."""
    warehouse.store(
        "reports", "this_run", _table(("account",), [(account,) for account in accounts])
    )
    warehouse.build("reports")


def _without(warehouse: Warehouse) -> list[str]:
    """Return the SQL prefixes of venues that no configured account uses."""
    rows = warehouse.rows("select distinct venue from config.accounts")
    here = {QUERIES.get(row["venue"], OTHERS) for row in rows}
    return [prefix for prefix in (*QUERIES.values(), OTHERS) if prefix not in here]


def _stage(warehouse: Warehouse, run: str, rules: str, empty: Collection[str]) -> None:
    """Stage this run's records, and those that have to be staged again."""
    if warehouse.rows("select fingerprint from raw.build_fingerprints where account = ''") != [
        {"fingerprint": rules}
    ]:
        warehouse.drop(DERIVED)
        warehouse.run("delete from raw.build_fingerprints")
    keep_names(warehouse, run)
    again = _from_the_beginning(warehouse)
    again += _neighbours(warehouse, run, {one.account for one in again})
    again += _unread(warehouse)
    warehouse.select(run, again)
    warehouse.build("staging", empty=empty)
    if orphans := _orphans(warehouse, run, again):
        _forget(warehouse, orphans)
        warehouse.select(run, [*again, *orphans])
        warehouse.build("staging", empty=empty)
    warehouse.prepare(
        "evidence",
        (
            "fills",
            "ledger",
            "closed_positions",
            "lot_events",
            "stated_pnl",
            "cash_moves",
            "orders",
            "assignments",
        ),
    )


def _rules(warehouse: Warehouse) -> str:
    """Return a fingerprint of version, SQL and macros. A change triggers a rebuild."""
    folders = ("raw", *DERIVED, "kernel", "audits")
    texts = [text for folder in folders for _, text in warehouse.queries(folder)]
    macros = (sql_root() / "macros.sql").read_text(encoding="utf-8")
    return hashlib.sha256("\n".join([__version__, macros, *texts]).encode()).hexdigest()


def _from_the_beginning(warehouse: Warehouse) -> list[Again]:
    """Return the accounts that are rebuilt as a whole, and delete their derived rows."""
    if not warehouse.has("evidence", "instruments"):
        rows = warehouse.rows("select venue, account from config.accounts")
    else:
        rows = warehouse.rows(
            f"""
            select a.venue, a.account from ({_fingerprints(warehouse)}) r
            join config.accounts a using (account)
            anti join raw.build_fingerprints k
              on k.account = r.account and k.fingerprint = r.fingerprint
            """
        )
    found = [Again(row["venue"], row["account"], EVERYTHING) for row in rows]
    _forget(warehouse, found)
    return found


def _forget(warehouse: Warehouse, whole: Collection[Again]) -> None:
    """Delete the derived rows of accounts that are rebuilt from the beginning."""
    for one in whole:
        warehouse.forget(one.account, DERIVED)


def _neighbours(warehouse: Warehouse, run: str, whole: Collection[str]) -> list[Again]:
    """Return, by account, the time from which rows that explain each other are staged again.

    A statement explains the confirmations of its sessions that still stand as fills.
    """
    confirmed = """
        union all
        select r.venue, r.account, min(f.at)
        from raw.records r
        join evidence.fills f on f.account = r.account and f.source_kind = 'TradeConfirm'
          and f.at >= try_cast(r.payload::json ->> 'from_date' as timestamp)
        where r.run = $run and r.kind = 'FlexStatement' and r.at is null
        group by all
    """
    rows = warehouse.rows(
        f"""
        select venue, account, min(since) as since
        from (
          select r.venue, r.account, min(r.at) as since
          from raw.records r
          where r.run = $run and r.at is not null and list_contains($venues, r.venue)
          group by all
          {confirmed if warehouse.has("evidence", "fills") else ""}
        )
        semi join config.accounts using (venue, account)
        group by all
        """,
        {"run": run, "venues": list(RELATED)},
    )
    return [
        Again(
            row["venue"], row["account"], row["since"].replace(tzinfo=UTC) - RELATED[row["venue"]]
        )
        for row in rows
        if row["since"] is not None and row["account"] not in whole
    ]


def _unread(warehouse: Warehouse) -> list[Again]:
    """Return the records that no run could read or value so far, to try them again.

    IBKR's rows are valued together or not at all. OKX's may be valued by evidence that comes later,
    such as a candle.
    """
    if not warehouse.has("evidence", "quarantine"):
        return []
    rows = warehouse.rows(
        """
        select a.venue, q.account, null as since, q.kind, q.id
        from evidence.quarantine q join config.accounts a on a.account = q.account
        union
        select a.venue, f.account, null, f.source_kind, f.source_id
        from evidence.findings f
        join config.accounts a on a.account = f.account and a.venue = 'okx'
        where f.source_kind in ('fill', 'bill')
        """
    )
    return [Again(**row) for row in rows]


def _orphans(warehouse: Warehouse, run: str, again: Collection[Again]) -> list[Again]:
    """Return the accounts in which a corrected trade may be earlier than the staged rows.

    That is so if this run has a cancel, or if a staged row belongs to an earlier corrected trade.
    """
    cut = """
        union
        select a.venue, a.account
        from staging.flex_parsed_fills f
        join config.accounts a on a.account = f.account
        join evidence.corrections c
          on c.account = f.account and c.instrument = f.instrument
          and c.explains in (
            'trade ' || case when f.is_cancel then f.cancelled_trade_id else f.trade_id end,
            'order ' || f.order_id
          )
        anti join raw.restaged r
          on r.account = c.account and r.kind = c.source_kind and r.id = c.source_id
    """
    rows = warehouse.rows(
        f"""
        select a.venue, a.account
        from staging.flex_parsed_fills f
        join config.accounts a on a.account = f.account
        join raw.records r
          on r.venue = a.venue and r.account = f.account and r.kind = f.kind and r.id = f.id
        where f.is_cancel and r.run = $run
        {cut if warehouse.has("evidence", "corrections") else ""}
        """,
        {"run": run},
    )
    whole = {one.account for one in again if one.since == EVERYTHING}
    found = [Again(row["venue"], row["account"], EVERYTHING) for row in rows]
    return [one for one in found if one.account not in whole]


def _record_fingerprints(warehouse: Warehouse, rules: str) -> None:
    warehouse.run(
        "delete from raw.build_fingerprints "
        "where account = '' or account in (select account from config.accounts)"
    )
    warehouse.run(f"insert into raw.build_fingerprints {_fingerprints(warehouse)}")
    warehouse.run("insert into raw.build_fingerprints values ('', ?)", [rules])


def _fingerprints(warehouse: Warehouse) -> str:
    return dict(warehouse.queries("raw"))["build_fingerprints"]


def _audit(warehouse: Warehouse, empty: Collection[str]) -> None:
    """Run the queries of `sql/audits`, except those of `empty` venues. Each returns wrong rows."""
    for name, query in warehouse.queries("audits"):
        if name.startswith(tuple(empty)):
            continue
        if rows := warehouse.rows(query):
            raise IdentityError(
                f"audit {name} found {len(rows)} wrong rows, the first: {rows[0]}: report this bug"
            )


def _accounts(accounts: Sequence[tuple[AccountSettings, Window, Calendar]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "account": account.id,
                "venue": account.venue,
                "currency": account.currency,
                "lots": account.lots,
                "broker_lots": BROKER_METHODS.get(account.venue),
                "calendar": account.calendar or "UTC",
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
                ("broker_lots", pa.string()),
                ("calendar", pa.string()),
                ("is_by_trade_date", pa.bool_()),
                ("first_date", pa.date32()),
                ("last_date", pa.date32()),
                ("window_start", TIME),
                ("window_end", TIME),
            ]
        ),
    )


def _assignments(assignments: Iterable[Assignment]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            one.filled._asdict()
            | {"bot": one.bot, "who": one.who, "at": one.at.replace(tzinfo=None), "why": one.why}
            for one in assignments
        ],
        schema=pa.schema(
            [
                ("account", pa.string()),
                ("is_order", pa.bool_()),
                ("id", pa.string()),
                ("bot", pa.string()),
                ("who", pa.string()),
                ("at", TIME),
                ("why", pa.string()),
            ]
        ),
    )


def _databases(shared: Sequence[SharedDatabase]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "database": one.database,
                "bot": one.bot.id,
                "account": one.bot.account,
                "has_own_mapping": one.has_own_mapping,
            }
            for one in shared
        ],
        schema=pa.schema(
            [
                ("database", pa.string()),
                ("bot", pa.string()),
                ("account", pa.string()),
                ("has_own_mapping", pa.bool_()),
            ]
        ),
    )


def _opening(accounts: Sequence[AccountSettings]) -> pa.Table:
    """Return the configured opening lots of each account, numbered in their order."""
    return pa.Table.from_pylist(
        [
            {
                "account": account.id,
                "number": number,
                "instrument": lot.instrument,
                "position_side": lot.side,
                "qty": lot.qty,
                "price": lot.price,
            }
            for account in accounts
            for number, lot in enumerate(account.opening)
        ],
        schema=pa.schema(
            [
                ("account", pa.string()),
                ("number", pa.int32()),
                ("instrument", pa.string()),
                ("position_side", pa.string()),
                ("qty", pa.decimal128(38, 18)),
                ("price", pa.decimal128(38, 18)),
            ]
        ),
    )


def _sessions(
    accounts: Sequence[tuple[AccountSettings, Window, Calendar]], now: datetime
) -> pa.Table:
    """Return each account's sessions from the first of its window through the one of `now`."""
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
